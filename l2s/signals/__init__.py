"""Teacher signals: what a student can learn from, recorded once and read in training."""
