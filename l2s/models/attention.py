"""Grouped-query attention without copies of keys and values.

With a padding mask, transformers copies each key-value head for all query heads of its group. In decoding, copying the
whole cache in every layer for every token takes several times as long as the attention itself. On a CPU, torch's kernel
reads the groups in place. On a GPU no kernel that takes a mask does, but one query position of several heads is
computed like several positions of one head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask


def grouped_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention; query [B, heads, T, D], key and value [B, groups, S, D] -> [B, T, heads, D]."""
    causal = bool(getattr(module, "is_causal", True)) if is_causal is None else is_causal
    output = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=causal and attention_mask is None and query.shape[2] > 1,
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None


def folded_sdpa(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """As `grouped_sdpa`. For T = 1 the heads of a group become the positions of one query; else as transformers does.

    A mask of one position, [B, 1, 1, S], holds for all heads.
    """
    if query.shape[2] != 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    batch, groups, _, width = key.shape
    folded = query.reshape(batch, groups, -1, width)  # [B, groups, heads of a group, D]
    output = F.scaled_dot_product_attention(folded, key, value, attn_mask=attention_mask, scale=kwargs.get("scaling"))
    return output.flatten(1, 2).unsqueeze(1), None


ATTENTION: dict[str, tuple[str, Callable[..., tuple[Tensor, None]]]] = {
    "cpu": ("sdpa_grouped", grouped_sdpa),
    "cuda": ("sdpa_folded", folded_sdpa),
}


def use_grouped_attention(model: PreTrainedModel, device_type: str | None = None) -> None:
    """Switch a model from transformers' SDPA to the one for its device; a model with another attention keeps it."""
    kind = device_type or model.device.type
    if kind in ATTENTION and model.config._attn_implementation == "sdpa":
        name, function = ATTENTION[kind]
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, sdpa_mask)
        model.set_attn_implementation(name)
