"""The distillation loss: a reference on logits, and the fused head that computes it from hidden states."""
