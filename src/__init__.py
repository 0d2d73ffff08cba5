"""Import paths that the experiment's users already have in their notebooks."""
