"""Helpers under the path `src.utils`."""
