"""Losses, the trainer, and the stages that train a student."""
