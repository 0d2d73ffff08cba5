"""The settings of the distillation loss: alpha * CE + (1 - alpha) * T**2 * divergence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """See `l2s.loss.reference.distillation_loss`. With alpha = 1 the loss is the cross-entropy alone.

    Attributes:
        alpha: weight of the cross-entropy, 0..1.
        temperature: T of the divergence.
        divergence: a name in `l2s.loss.divergences`.
        beta: mixture weight of jsd and skew_kl.
    """

    alpha: float
    temperature: float = 1.0
    divergence: str = "forward_kl"
    beta: float = 0.5
