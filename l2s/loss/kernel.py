"""The loss of bf16 rows in C, for CPUs: compiled on first use.

Compiling takes a fraction of a second, so nothing is cached between processes, and no cache can be stale or built for
another processor. Without a compiler, `l2s.loss.chunk` uses its PyTorch path.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from l2s.loss.buffers import logits_buffer

SOURCE = Path(__file__).with_name("rows.c")
# omp-simd lets the marked sums be reordered for vectors; full fast-math would lose NaN.
FLAGS = ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
if platform.machine() == "x86_64":
    FLAGS.append("-mprefer-vector-width=512")  # up to the processor's width; the default stops at 256


@cache
def load_kernel() -> ctypes.CDLL | None:
    """The compiled kernel; None, with a warning, if it cannot be built."""
    chosen = os.environ.get("CC", "").strip() or "cc"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "rows.so")
        try:
            command = [*shlex.split(chosen), *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            return _declare(ctypes.CDLL(str(library)))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            warnings.warn(f"the loss uses its slower PyTorch path: `{chosen}` (CC) failed: {reason}", stacklevel=2)
            return None


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    library.distillation_rows.argtypes = [pointer] * 3 + [count] * 2 + [real] * 2 + [pointer] * 3
    library.distillation_rows.restype = None
    return library


def kernel_chunk_loss(
    kernel: ctypes.CDLL,
    student_CV: Tensor,
    teacher_CV: Tensor | None,
    labels_C: Tensor,
    *,
    alpha: float,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and forward KL summed over the rows, in fp32; the gradient overwrites `student_CV`.

    Args:
        kernel: from `load_kernel`.
        student_CV: contiguous bf16 logits.
        teacher_CV: likewise, or None for the cross-entropy alone.
        labels_C: counted labels, int64.
        alpha, temperature: settings of the loss.
    """
    ce_C, divergence_C = torch.empty(2, len(student_CV), dtype=torch.float64).unbind()
    vocabulary = student_CV.shape[1]
    scratch = logits_buffer("exponentials", 2 * torch.get_num_threads(), vocabulary, torch.float32, student_CV.device)

    def run(rows: slice, thread: int) -> None:
        kernel.distillation_rows(
            student_CV[rows].data_ptr(),
            None if teacher_CV is None else teacher_CV[rows].data_ptr(),
            labels_C[rows].data_ptr(),
            rows.stop - rows.start,
            vocabulary,
            alpha,
            temperature,
            scratch[2 * thread].data_ptr(),
            ce_C[rows].data_ptr(),
            divergence_C[rows].data_ptr(),
        )

    _over_threads(run, len(student_CV))
    return ce_C.sum().float(), divergence_C.sum().float()


def _over_threads(run: Callable[[slice, int], None], rows: int) -> None:
    """Call `run` on shares of the rows in parallel, with the number of the thread; ctypes releases the GIL."""
    threads = min(torch.get_num_threads(), rows)
    shares = [slice(rows * thread // threads, rows * (thread + 1) // threads) for thread in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, shares, range(threads)))
