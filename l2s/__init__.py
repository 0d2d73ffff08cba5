"""l2s: a complete large-to-small distillation experiment with one command."""

__version__ = "0.1.0"
