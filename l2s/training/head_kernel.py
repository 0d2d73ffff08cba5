"""The chunk of a fused head in C, for bf16 on CPU: built with the machine's compiler when first needed.

Compiling takes a fraction of a second, so nothing is kept between processes and no cache can go stale or meet
another processor. Without a compiler the plain path of `l2s.training.head_chunk` serves.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("head_rows.c")
# omp-simd lets sums be reordered for vectors, and only those marked: full fast-math would lose NaN.
FLAGS = ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
if platform.machine() == "x86_64":
    FLAGS.append("-mprefer-vector-width=512")  # as wide as the processor has; the default stops at 256


@cache
def load_kernel() -> ctypes.CDLL | None:
    """The compiled kernel, or None, with a warning, where it cannot be built."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "head_rows.so")
        try:
            command = [*compiler, *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True)
            return _declare(ctypes.CDLL(str(library)))
        except (OSError, subprocess.CalledProcessError) as error:
            reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            warnings.warn(f"the loss takes its slower plain path: `{compiler[0]}` (CC) failed: {reason}", stacklevel=2)
            return None


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    library.distillation_rows.argtypes = [pointer] * 3 + [count] * 2 + [real] * 2 + [pointer] * 2
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
        kernel: of `load_kernel`.
        student_CV: contiguous bf16 logits.
        teacher_CV: likewise, or None for the cross-entropy alone.
        labels_C: counted labels, int64.
        alpha, temperature: of the loss.
    """
    rows, vocabulary = student_CV.shape
    ce_C, divergence_C = torch.empty(2, rows, dtype=torch.float64).unbind()
    threads = min(torch.get_num_threads(), rows)

    def run(thread: int) -> None:
        first, last = rows * thread // threads, rows * (thread + 1) // threads
        kernel.distillation_rows(
            student_CV[first:].data_ptr(),
            None if teacher_CV is None else teacher_CV[first:].data_ptr(),
            labels_C[first:].data_ptr(),
            last - first,
            vocabulary,
            alpha,
            temperature,
            ce_C[first:].data_ptr(),
            divergence_C[first:].data_ptr(),
        )

    with ThreadPoolExecutor(threads) as pool:  # ctypes releases the interpreter's lock
        list(pool.map(run, range(threads)))
    return ce_C.sum().float(), divergence_C.sum().float()
