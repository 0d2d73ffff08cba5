"""What a model does to hidden @ head.T to get its logits: nothing, a scale, or a softcap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from l2s.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Settings of transformers' model configurations that change the logits; scales are keyed by prefix of the model type.
CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
MULTIPLIERS = {"cohere": "logit_scale", "falcon_h1": "lm_head_multiplier", "hyperclovax": "logits_scaling"}
DIVISORS = {"granite": "logits_scaling", "minicpm3": "logits_scaling"}
SUSPECT = re.compile(r"(?!.*(attn|attention|router)).*(logit|lm_head|output).*(scal|cap|multipl)")


@dataclass(frozen=True)
class LogitTransform:
    """logits = cap * tanh(scale * z / cap) with z = hidden @ weight.T; without a cap, logits = scale * z."""

    scale: float = 1.0
    cap: float | None = None

    def apply(self, projected: Tensor) -> Tensor:
        """Logits in fp32 (fp64 for fp64) from the projected hidden states."""
        wide = projected.to(torch.promote_types(projected.dtype, torch.float32))
        if self.scale != 1.0:
            wide = wide * self.scale
        return wide if self.cap is None else self.cap * torch.tanh(wide / self.cap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d projected at `logits`, which `apply` returned."""
        return self.scale if self.cap is None else self.scale * (1 - (logits / self.cap) ** 2)


IDENTITY = LogitTransform()


@dataclass(frozen=True)
class HeadTransforms:
    """The transforms of the two models whose logits a loss compares."""

    student: LogitTransform = IDENTITY
    teacher: LogitTransform = IDENTITY


def declared_transform(config: PretrainedConfig) -> LogitTransform:
    """The transform that a model configuration declares; `l2s.models.head.logit_transform` checks it on the model.

    Raises:
        UserError: a setting that looks like a scale or cap of the logits and is not known for this model type.
    """
    text = config.get_text_config()
    multiplier, divisor = _field(MULTIPLIERS, text.model_type), _field(DIVISORS, text.model_type)
    # Read as attributes: MiniCPM3 has a property, which to_dict leaves out.
    computed = {name: getattr(text, name, 1.0) for name in (multiplier, divisor) if name}
    active = {
        name: value
        for name, value in (text.to_dict() | computed).items()
        if SUSPECT.match(name) and isinstance(value, int | float) and value not in (False, 1)
    }
    scale = active.pop(multiplier, 1.0) / active.pop(divisor, 1.0)
    caps = [active.pop(name) for name in CAPS if name in active]
    if active:
        name, value = next(iter(active.items()))
        raise UserError(
            f"{name}={value!r} of a {text.model_type} model: this setting may change the logits, and the loss, which "
            "computes them itself, does not know how; choose another model, or add the setting to "
            "l2s/loss/logit_transform.py"
        )
    return LogitTransform(float(scale), float(caps[0]) if caps else None)


def _field(table: dict[str, str], model_type: str) -> str:
    return next((name for prefix, name in table.items() if model_type.startswith(prefix)), "")
