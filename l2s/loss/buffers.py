"""Memory for the logits of a chunk.

On a CPU it is reused from call to call: touching fresh pages for every batch costs about a fifth of the matrix products
that fill them. It uses huge pages where the system has them, which saves address look-ups. On CUDA, torch's allocator
already reuses memory.
"""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress

import torch
from torch import Tensor


class _Kept(threading.local):
    """The buffers of a thread, by purpose; each is as large as the largest request so far."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}


_kept = _Kept()


def logits_buffer(purpose: str, rows: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uninitialised [rows, vocabulary]. On a CPU it is valid until this thread's next call for the same purpose."""
    if device.type != "cpu":
        return torch.empty(rows, vocabulary, dtype=dtype, device=device)
    size = rows * vocabulary
    buffer = _kept.buffers.get(purpose)
    if buffer is None or buffer.dtype != dtype or buffer.numel() < size:
        _kept.buffers.pop(purpose, None)  # freed first, so that old and new buffer never exist together
        buffer = _kept.buffers[purpose] = _allocate(size, dtype)
    return buffer[:size].view(rows, vocabulary)


def _allocate(size: int, dtype: torch.dtype) -> Tensor:
    memory = mmap.mmap(-1, size * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # not every system and kernel has huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype)


def release_buffers() -> None:
    """Free the buffers of this thread."""
    _kept.buffers.clear()
