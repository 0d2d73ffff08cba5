"""How a model turns the product of hidden states and output head into logits: as it is, or scaled or capped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitTransform:
    """logits = cap * tanh(scale * z / cap) with z = hidden @ weight.T; without a cap, logits = scale * z."""

    scale: float = 1.0
    cap: float | None = None

    @property
    def is_identity(self) -> bool:
        """Whether the logits are the projection itself."""
        return self.scale == 1.0 and self.cap is None

    def apply(self, projected: Tensor) -> Tensor:
        """Logits in fp32 (fp64 for fp64) from the projected hidden states."""
        wide = projected.to(torch.promote_types(projected.dtype, torch.float32))
        if self.scale != 1.0:
            wide = wide * self.scale
        return wide if self.cap is None else self.cap * torch.tanh(wide / self.cap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d projected at `logits`, which `apply` gave."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap) ** 2)


IDENTITY = LogitTransform()
