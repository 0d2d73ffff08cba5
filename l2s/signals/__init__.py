"""Teacher signals: hidden states or top-k logits of the teacher, recorded once and read in training."""
