"""Memory for the logits of a chunk. On CPU it is kept from call to call: touching fresh pages of it for every batch
costs about a fifth of the matrix products that fill it. CUDA's allocator keeps it anyway.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class _Kept(threading.local):
    """One buffer for each purpose and thread; only the largest so far."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}


_kept = _Kept()


def logits_buffer(purpose: str, rows: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uninitialised [rows, vocabulary]; on CPU valid until the next call for the same purpose in this thread."""
    if device.type != "cpu":
        return torch.empty(rows, vocabulary, dtype=dtype, device=device)
    size = rows * vocabulary
    buffer = _kept.buffers.get(purpose)
    if buffer is None or buffer.dtype != dtype or buffer.numel() < size:
        _kept.buffers.pop(purpose, None)  # before the new one is made, so that both never exist
        buffer = _kept.buffers[purpose] = torch.empty(size, dtype=dtype)
    return buffer[:size].view(rows, vocabulary)


def release_buffers() -> None:
    """Give this thread's buffers back to the system."""
    _kept.buffers.clear()
