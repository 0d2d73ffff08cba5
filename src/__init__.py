"""Import paths that users of the experiment already have in their notebooks."""
