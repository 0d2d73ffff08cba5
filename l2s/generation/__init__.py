"""Engines that run a model over prompts, and the stage that lets the teacher answer."""
