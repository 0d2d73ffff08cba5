"""`l2s plan`: memory, time and disk of every stage, before anything runs and without loading a model."""
