"""Time and memory of the fused head compared with naive logits, TRL, Liger and the bare matrix products.

    python benchmarks/kd_head.py --shape qwen2.5-coder --rounds 5 --json kd_head.json

Every round runs each contender once, in rotating order, so that drift of the machine's speed affects all alike. Ratios
are medians over rounds. All compute alpha CE + (1 - alpha) T**2 KL and the gradient of the hidden states with frozen
heads. Peers that are not installed are named and skipped.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.loss import chunk
from l2s.loss.buffers import release_buffers
from l2s.loss.fused_head import fused_distillation_loss
from l2s.loss.logit_transform import IDENTITY
from l2s.loss.reference import distillation_loss
from l2s.loss.targets import HiddenTargets, TopkTargets
from l2s.signals.tail import RANK, TailFit
from l2s.signals.topk import TopkEncoder, decode

ALPHA, TEMPERATURE, TOPK = 0.5, 2.0, 64
SCORED_ROWS = 256  # rows whose logits exist at a time
CHECKED_ROWS = 4  # rows whose gradient is compared with fp64


@dataclass(frozen=True)
class Shape:
    """Rows, hidden sizes of student and teacher, and vocabulary."""

    rows: int
    student: int
    teacher: int
    vocabulary: int


SHAPES = {
    "smollm2": Shape(512, 576, 576, 49152),
    "qwen2.5-coder": Shape(512, 896, 1536, 151936),
    "qwen3-8b": Shape(8192, 4096, 2048, 151936),  # meant for CUDA
}


@dataclass(frozen=True)
class Problem:
    """Hidden states, heads and labels; logits spread like a language model's."""

    student_hidden: Tensor
    student_weight: Tensor
    teacher_hidden: Tensor
    teacher_weight: Tensor
    labels: Tensor
    topk: TopkTargets

    @property
    def gradient(self) -> Tensor:
        """Gradient of the last loss with respect to the student's hidden states."""
        assert self.student_hidden.grad is not None
        return self.student_hidden.grad


@dataclass(frozen=True)
class Result:
    """Medians over the rounds; a ratio is the median of the rounds' ratios."""

    contender: str
    seconds: float
    to_floor: float
    to_naive: float
    extra_peak_bytes: int | None
    gradient_error: float | None  # relative to fp64, on a few rows


Contender = Callable[[Problem], object]


def draw_problem(shape: Shape, device: str, dtype: torch.dtype) -> Problem:
    generator = torch.Generator(device).manual_seed(0)

    def draw(*size: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*size, generator=generator, device=device) * scale).to(dtype)

    spread = 3.0  # standard deviation of the logits
    teacher_hidden = draw(shape.rows, shape.teacher)
    teacher_weight = draw(shape.vocabulary, shape.teacher, scale=spread / shape.teacher**0.5)
    return Problem(
        student_hidden=draw(shape.rows, shape.student).requires_grad_(),
        student_weight=draw(shape.vocabulary, shape.student, scale=spread / shape.student**0.5),
        teacher_hidden=teacher_hidden,
        teacher_weight=teacher_weight,
        labels=torch.randint(shape.vocabulary, (shape.rows,), generator=generator, device=device),
        topk=keep_topk(teacher_hidden, teacher_weight),
    )


def keep_topk(hidden_NH: Tensor, weight_VH: Tensor) -> TopkTargets:
    """The stored top-k targets of these rows, as KD reads them."""
    chunks = [(chunk_CH, chunk_CH @ weight_VH.T) for chunk_CH in torch.split(hidden_NH, SCORED_ROWS)]
    fit = TailFit(weight_VH, TOPK, TEMPERATURE)
    for chunk_CH, logits_CV in chunks:
        fit.add(chunk_CH, logits_CV)
    tail = fit.model(RANK, IDENTITY)
    encoder = TopkEncoder(TOPK, TEMPERATURE, tail)
    parts = [encoder.encode(logits_CV, chunk_CH) for chunk_CH, logits_CV in chunks]
    rows = {name: torch.cat([part[name] for part in parts]).to(hidden_NH.device) for name in parts[0]}
    return decode(rows, TOPK, tail.factors())


def products(problem: Problem, buffers: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
    """The three matrix products that loss and gradient need at least."""
    student, teacher, gradient = buffers or (None, None, None)
    logits = torch.mm(problem.student_hidden.detach(), problem.student_weight.T, out=student)
    torch.mm(problem.teacher_hidden, problem.teacher_weight.T, out=teacher)
    torch.mm(logits, problem.student_weight, out=gradient)


def ours(problem: Problem) -> None:
    _fused(problem, HiddenTargets(problem.teacher_hidden, problem.teacher_weight))


def ours_topk(problem: Problem) -> None:
    _fused(problem, problem.topk)


def _fused(problem: Problem, targets: HiddenTargets | TopkTargets) -> None:
    fused_distillation_loss(
        problem.student_hidden,
        problem.student_weight,
        problem.labels,
        targets=targets,
        alpha=ALPHA,
        temperature=TEMPERATURE,
    ).loss_sum.backward()  # type: ignore[no-untyped-call]


def ours_without_compiler(problem: Problem) -> None:
    with (
        mock.patch.object(chunk, "load_kernel", return_value=None),
        mock.patch.object(chunk, "compiled_block_loss", return_value=chunk.block_loss),
    ):
        ours(problem)


def naive(problem: Problem) -> None:
    """Whole logits in fp32, as in most training scripts."""
    student = (problem.student_hidden @ problem.student_weight.T).float()
    teacher = (problem.teacher_hidden @ problem.teacher_weight.T).float()
    ce = F.cross_entropy(student, problem.labels, reduction="sum")
    log_p, log_q = F.log_softmax(student / TEMPERATURE, -1), F.log_softmax(teacher / TEMPERATURE, -1)
    kl = F.kl_div(log_p, log_q, reduction="sum", log_target=True)
    (ALPHA * ce + (1 - ALPHA) * TEMPERATURE**2 * kl).backward()  # type: ignore[no-untyped-call]


def trl_contender() -> Contender:
    from trl.kernels.chunked_divergence import VOCAB_CHUNK_SIZE, ChunkedDivergenceFunction
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    def run(problem: Problem) -> None:
        hidden, weight = problem.student_hidden, problem.student_weight
        divergence, _ = ChunkedDivergenceFunction.apply(
            hidden, weight, None, problem.teacher_hidden, problem.teacher_weight, None, 0.0, TEMPERATURE
        )
        log_probs, *_ = ChunkedLogProbFunction.apply(
            hidden, weight, None, problem.labels, 1.0, VOCAB_CHUNK_SIZE, None, 1.0, ()
        )
        (-ALPHA * log_probs.sum() + (1 - ALPHA) * TEMPERATURE**2 * divergence.sum()).backward()

    return run


def liger_contender() -> Contender:
    from liger_kernel.chunked_loss.jsd_loss import LigerFusedLinearJSDLoss

    # It divides by the number of rows and has no T**2; the weights correct for both.
    def run(problem: Problem) -> None:
        rows = len(problem.labels)
        loss = LigerFusedLinearJSDLoss(
            weight_hard_loss=ALPHA * rows,
            weight_soft_loss=(1 - ALPHA) * TEMPERATURE**2 * rows,
            beta=0.0,
            temperature=TEMPERATURE,
        )
        loss(
            problem.student_hidden,
            problem.student_weight,
            problem.teacher_hidden,
            problem.teacher_weight,
            problem.labels,
        ).backward()

    return run


def find_contenders(shape: Shape, device: str, dtype: torch.dtype, only: list[str]) -> dict[str, Contender]:
    empty = partial(torch.empty, device=device, dtype=dtype)
    logits = shape.rows, shape.vocabulary
    contenders: dict[str, Contender] = {
        "floor": partial(products, buffers=(empty(*logits), empty(*logits), empty(shape.rows, shape.student))),
        "products": products,
        "ours": ours,
        "ours topk": ours_topk,
        "ours, no compiler": ours_without_compiler,
        "naive": naive,
    }
    for package, make in {"trl": trl_contender, "liger-kernel": liger_contender}.items():
        try:
            contenders[f"{package} {metadata.version(package)}"] = make()
        except ImportError as error:
            print(f"left out: {package} ({error})", file=sys.stderr)
    chosen = {name: run for name, run in contenders.items() if not only or name.split()[0] in only}
    return contenders if not only else {"floor": contenders["floor"], "naive": naive} | chosen


def run_once(contender: Contender, problem: Problem) -> float:
    problem.student_hidden.grad = None
    synchronize(problem)
    start = time.perf_counter()
    contender(problem)
    synchronize(problem)
    return time.perf_counter() - start


def synchronize(problem: Problem) -> None:
    if problem.labels.is_cuda:
        torch.cuda.synchronize()


def extra_peak_bytes(contender: Contender, problem: Problem) -> int | None:
    """Peak memory above the memory in use before; None if the system does not report it."""
    problem.student_hidden.grad = None
    if problem.labels.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        contender(problem)
        return torch.cuda.max_memory_allocated() - before
    release_buffers()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # return freed memory to the system, so that reuse is counted
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except (OSError, AttributeError):
        return None
    before = _memory("VmRSS")
    contender(problem)
    return _memory("VmHWM") - before


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def gradient_error(contender: Contender, problem: Problem) -> float | None:
    """Relative error of the gradient of a few rows against the same loss in fp64."""
    problem.student_hidden.grad = None
    contender(problem)
    if problem.student_hidden.grad is None:
        return None
    rows = slice(CHECKED_ROWS)
    hidden = problem.student_hidden.detach()[rows].double().requires_grad_()
    distillation_loss(
        hidden @ problem.student_weight.double().T,
        problem.teacher_hidden[rows].double() @ problem.teacher_weight.double().T,
        problem.labels[rows],
        alpha=ALPHA,
        temperature=TEMPERATURE,
    ).loss_sum.backward()
    assert hidden.grad is not None
    return float((problem.gradient[rows] - hidden.grad).norm() / hidden.grad.norm())


@contextmanager
def progress(label: str) -> Iterator[None]:
    print(label, end="", flush=True, file=sys.stderr)
    yield
    print(end="\r\033[K", flush=True, file=sys.stderr)


def measure(shape: Shape, device: str, dtype: torch.dtype, rounds: int, only: list[str]) -> list[Result]:
    problem = draw_problem(shape, device, dtype)
    contenders = find_contenders(shape, device, dtype, only)
    errors, peaks = {}, {}
    for name, contender in contenders.items():  # the first run also compiles
        with progress(f"checking {name}"):
            errors[name] = gradient_error(contender, problem)
            peaks[name] = extra_peak_bytes(contender, problem)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(rounds):
        names = list(contenders)
        for name in names[index % len(names) :] + names[: index % len(names)]:
            with progress(f"round {index + 1}/{rounds}: {name}"):
                seconds[name].append(run_once(contenders[name], problem))

    def ratio(name: str, base: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))

    return [
        Result(
            contender=name,
            seconds=statistics.median(seconds[name]),
            to_floor=ratio(name, "floor"),
            to_naive=ratio(name, "naive"),
            extra_peak_bytes=peaks[name],
            gradient_error=errors[name],
        )
        for name in contenders
    ]


def as_table(results: list[Result]) -> str:
    naive_peak = next(result.extra_peak_bytes for result in results if result.contender == "naive")
    lines = [
        "| contender | seconds | to floor | to naive | extra peak | of naive's | gradient error |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        peak, share = "", ""
        if result.extra_peak_bytes is not None and naive_peak:
            peak = f"{result.extra_peak_bytes / 2**20:.0f} MiB"
            share = f"{result.extra_peak_bytes / naive_peak:.0%}"
        error = "" if result.gradient_error is None else f"{result.gradient_error:.1e}"
        lines.append(
            f"| {result.contender} | {result.seconds:.3g} | {result.to_floor:.2f} | {result.to_naive:.2f} "
            f"| {peak} | {share} | {error} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="repeat for several; default: by device")
    parser.add_argument("--rows", type=int, help="response rows in place of the shape's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--only", nargs="+", default=[], help="first words of contenders; floor and naive always run")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    for name in arguments.shape or (list(SHAPES) if arguments.device == "cuda" else ["smollm2", "qwen2.5-coder"]):
        shape = SHAPES[name]
        if arguments.rows:
            shape = Shape(arguments.rows, shape.student, shape.teacher, shape.vocabulary)
        results = measure(shape, arguments.device, getattr(torch, arguments.dtype), arguments.rounds, arguments.only)
        figures[name] = {"shape": asdict(shape), "results": [asdict(result) for result in results]}
        print(f"\n{name}: {shape}, {arguments.dtype}, {describe_machine(arguments.device)}\n\n{as_table(results)}")
    if arguments.json:
        figures["machine"] = describe_machine(arguments.device)
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def describe_machine(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
