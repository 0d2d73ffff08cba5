"""Evaluation: all models on the same items with the same decoding, and their distance from the teacher."""
