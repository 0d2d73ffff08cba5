"""What the report is made of: a run folder read, and every number computed from it."""
