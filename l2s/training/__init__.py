"""The trainer, and the stages that train a student."""
