"""Engines that run a model over prompts, and the stage in which the teacher answers."""
