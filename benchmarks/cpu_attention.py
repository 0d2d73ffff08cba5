"""Attention with grouped keys and values on the CPU: copied for every head, as in transformers, or read in place.

`python benchmarks/cpu_attention.py` prints medians over paired rounds for a decoding step and for a prompt.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

ROUNDS = 7
SHAPES = {  # batch, heads, groups, new tokens, cached tokens, head size
    "decode, qwen2.5-coder-1.5b": (16, 12, 2, 1, 1300, 128),
    "decode, smollm2-135m": (16, 9, 3, 1, 500, 64),
    "prompt, qwen2.5-coder-1.5b": (4, 12, 2, 1000, 1000, 128),
    "prompt, smollm2-135m": (8, 9, 3, 500, 500, 64),
}


def milliseconds(call: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def measure(batch: int, heads: int, groups: int, new: int, cached: int, size: int) -> tuple[float, float]:
    """Median milliseconds of (copied, in place), in bf16 with a padding and causal mask."""
    query = torch.randn(batch, heads, new, size, dtype=torch.bfloat16)
    key, value = torch.randn(2, batch, groups, cached, size, dtype=torch.bfloat16)
    mask = torch.ones(new, cached, dtype=torch.bool).tril(cached - new).expand(batch, 1, new, cached).contiguous()

    def repeat(grouped: Tensor) -> Tensor:
        return grouped.repeat_interleave(heads // groups, dim=1)

    def copied() -> Tensor:
        return scaled_dot_product_attention(query, repeat(key), repeat(value), attn_mask=mask)

    def in_place() -> Tensor:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)

    torch.testing.assert_close(copied(), in_place(), rtol=2e-2, atol=2e-2)
    rounds = [(milliseconds(copied), milliseconds(in_place)) for _ in range(ROUNDS)]
    return statistics.median(first for first, _ in rounds), statistics.median(second for _, second in rounds)


def main() -> None:
    print(f"| {'case':<27} | copied, ms | in place, ms | ratio |\n|---|---:|---:|---:|")
    for name, shape in SHAPES.items():
        copied, in_place = measure(*shape)
        print(f"| {name:<27} | {copied:.2f} | {in_place:.2f} | {copied / in_place:.1f} |")


if __name__ == "__main__":
    main()
