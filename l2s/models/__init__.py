"""Models: loading, saving, the output head, and small models for checks and the demo."""
