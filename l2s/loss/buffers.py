"""Memory for the logits of a chunk. On CPU it is kept from call to call: touching fresh pages of it for every batch
costs about a fifth of the matrix products that fill it. It lies in huge pages where the system has them, which saves
the look-up of an address for every 2,048 logits of a sweep. CUDA's allocator keeps its memory anyway.
"""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress

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
        buffer = _kept.buffers[purpose] = _allocate(size, dtype)
    return buffer[:size].view(rows, vocabulary)


def _allocate(size: int, dtype: torch.dtype) -> Tensor:
    memory = mmap.mmap(-1, size * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # neither every system nor every kernel has huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype)


def release_buffers() -> None:
    """Give this thread's buffers back to the system."""
    _kept.buffers.clear()
