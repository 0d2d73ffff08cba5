"""From hidden states to logits: a model's output head, and what its configuration does to the head's product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from l2s.errors import UserError
from l2s.loss.logit_transform import LogitTransform, declared_transform

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # dtypes of weights that are not quantised


@dataclass(frozen=True)
class Head:
    """What turns hidden states into logits: the output head's matrix [V, H], and the transform after it."""

    weight: Tensor
    transform: LogitTransform

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """The head of a loaded model.

        Raises:
            UserError: the model computes its logits in another way.
        """
        return cls(output_head(model).weight, logit_transform(model))

    def logits(self, hidden_NH: Tensor, vocabulary: int) -> Tensor:
        """[N, vocabulary] in fp32: logits of the first `vocabulary` rows of the head."""
        return self.transform.apply(hidden_NH @ self.weight[:vocabulary].T)


def decoder_of(model: nn.Module) -> nn.Module:
    """The part of a causal LM that gives the hidden states which its output head reads.

    Raises:
        UserError: there is no such part.
    """
    found: nn.Module = cast(Any, model).get_decoder()
    if found is not model:
        return found
    # transformers looks for a part by its usual names, and returns the whole model where it finds none (Llama 4's text)
    parts = [part for part in model.children() if isinstance(part, PreTrainedModel)]
    if len(parts) != 1:
        raise UserError(f"{type(model).__name__}: it has no part that gives the hidden states before its output head")
    return parts[0]


def output_head(model: nn.Module) -> nn.Linear:
    """The output head of a causal LM.

    Raises:
        UserError: it is not a single matrix without bias, so logits are not hidden @ weight.T.
    """
    head = cast(Any, model).get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None or head.weight.dtype not in PLAIN:
        kind = head.weight.dtype if isinstance(head, nn.Linear) else ""
        raise UserError(
            f"{type(model).__name__}: its output head is {head} {kind}; it must be linear, without bias, not quantised"
        )
    return head


def logit_transform(model: nn.Module) -> LogitTransform:
    """The transform from hidden @ weight.T to the model's logits: read from its configuration, checked on the model.

    Raises:
        UserError: a setting of the configuration is not supported, or the logits of a few tokens differ from those that
            the configuration implies. Those that are no numbers say nothing about it.
    """
    transform = declared_transform(cast(PreTrainedModel, model).config)
    hidden, logits = _probe(model)
    ours = transform.apply(output_head(model)(hidden)).float().to(logits.device)  # layers may be on several GPUs
    error, size = (ours - logits).abs().amax(-1), logits.abs().amax(-1)  # per token
    damaged = ours.isfinite().all(-1).logical_not() & logits.isfinite().all(-1).logical_not()  # whatever the transform
    if not bool((damaged | (error <= 0.02 * size)).all()):
        raise UserError(
            f"{type(model).__name__}: its logits are not its output head's product, nor a known scale or "
            "softcap of it; the distillation loss cannot be computed for this architecture"
        )
    return transform


@torch.no_grad()
def _probe(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states and logits (fp32) of a few tokens, each hidden state longer than the one before.

    The longest give logits of tens of thousands, at which a softcap shows. In the small logits of real tokens it does
    not.
    """
    hidden: list[torch.Tensor] = []
    tokens = torch.arange(8, device=next(model.parameters()).device).unsqueeze(0)

    def lengthen(module: nn.Module, inputs: object, output: Any) -> Any:
        output.last_hidden_state *= (4.0 ** tokens.unsqueeze(-1)).to(output.last_hidden_state)
        hidden.append(output.last_hidden_state)
        return output

    hook = decoder_of(model).register_forward_hook(lengthen)
    try:
        logits = model(input_ids=tokens, use_cache=False).logits
    finally:
        hook.remove()
    return hidden[0], logits.float()
