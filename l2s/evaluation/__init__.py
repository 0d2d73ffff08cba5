"""Evaluation: every model on the same items with the same prompts and decoding, and how close it is to the teacher."""
