"""Grouped-query attention without copies of keys and values.

With a padding mask, transformers copies each key-value head for all query heads of its group. In decoding, copying the
whole cache in every layer for every token takes several times as long as the attention itself. On a CPU, torch's kernel
reads the groups in place. On a GPU no kernel that takes a mask does, but one query position of several heads is
computed like several positions of one head.

Both compute what queries, keys, values, mask and scale determine. Where a layer wants more, transformers' own attention
serves: it may add a bias, or a model may do more beside its attention if that is called "sdpa".
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

# Comparisons with the name, as in DeepSeek-V3.2, which hides the keys that its indexer leaves out only under this name
ASKS_FOR_NAME = re.compile(r"""_attn_implementation\s*(?:[!=]=|(?:not\s+)?in\b)[^\n]*["']sdpa["']""")


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
    if _wants_more(kwargs):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs)
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
    if query.shape[2] != 1 or _wants_more(kwargs):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    batch, groups, _, width = key.shape
    folded = query.reshape(batch, groups, -1, width)  # [B, groups, heads of a group, D]
    output = F.scaled_dot_product_attention(folded, key, value, attn_mask=attention_mask, scale=kwargs.get("scaling"))
    return output.flatten(1, 2).unsqueeze(1), None


# What transformers' function takes and these do not: a bias of positions, a paged cache.
_MORE = inspect.signature(sdpa_attention_forward).parameters.keys() - inspect.signature(grouped_sdpa).parameters.keys()


def _wants_more(arguments: dict[str, Any]) -> bool:
    return any(arguments.get(name) is not None for name in _MORE)


ATTENTION: dict[str, tuple[str, Callable[..., tuple[Tensor, None]]]] = {
    "cpu": ("sdpa_grouped", grouped_sdpa),
    "cuda": ("sdpa_folded", folded_sdpa),
}


def attention_argument(config: PreTrainedConfig) -> dict[str, str]:
    """The argument of `from_pretrained` for a model whose attention needs one.

    Gemma 2 caps the scores of its attention. SDPA does not, and transformers takes it nevertheless; vLLM caps them.
    """
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return {"attn_implementation": "eager"} if capped else {}


def use_grouped_attention(model: PreTrainedModel, device_type: str | None = None) -> None:
    """Switch a model from transformers' SDPA to the one for its device.

    A model with another attention keeps it, and one whose code asks whether its attention is called "sdpa".
    """
    kind = device_type or model.device.type
    if kind in ATTENTION and model.config._attn_implementation == "sdpa" and not _asks_for_name(model):
        name, function = ATTENTION[kind]
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, sdpa_mask)
        model.set_attn_implementation(name)


def _asks_for_name(model: PreTrainedModel) -> bool:
    """Whether the code of the model, or of a part of it, compares the name of its attention with "sdpa"."""
    files = {type(module).__module__ for module in model.modules() if not type(module).__module__.startswith("torch.")}
    return any(ASKS_FOR_NAME.search(_source(name)) for name in files)


def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError):  # made without a file
        return ""
