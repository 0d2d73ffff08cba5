"""Models: loading, saving, output head, attention, and the small models of checks and demo."""
