"""The topk signal: the K largest logits of a token, the exact mass outside them, and how well that stands in.

At T = 2 most of the teacher's softened mass lies outside any top K, so its amount is stored exactly (by the
log-normaliser) and its course is modelled by one mean shape for the whole run.

Shapes: N rows, K kept logits, V common vocabulary, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.training.head_chunk import Objective
from l2s.training.head_teacher import TopkTeacher, write_teacher_logits
from l2s.training.logit_transform import IDENTITY
from l2s.training.losses import distillation_loss

MIN_GRADIENT_COSINE = 0.9  # below it a tenth of each step goes astray, and `hidden` is worth its disk

MAX_DIVERGENCE_ERROR = 0.25  # above it the reported KD loss says more about the tail's model than about the student


@dataclass(frozen=True)
class TopkEncoder:
    """Packs logits into the rows that are stored: 264 to 296 bytes a token at K = 64.

    Ids are 16 low bits and, for more than 65,536 tokens, 2 or 4 high bits packed into bytes. Logits are float16
    below the largest one, which makes them exact where they matter; log-normalisers are relative to it as well.
    """

    topk: int
    temperature: float

    def encode(self, logits_NV: Tensor) -> dict[str, Tensor]:
        """Rows for the CPU: `ids_low`, `ids_high`, `logits`, `log_normalizers` (at T = 1 and at the training T)."""
        wide_NV = logits_NV.float()
        top = wide_NV.topk(self.topk, dim=-1)
        largest_N1 = top.values[:, :1]
        shifted_NV = wide_NV - largest_N1
        normalizers = [(shifted_NV / temperature).logsumexp(-1) for temperature in (1.0, self.temperature)]
        rows = {
            "ids_low": (top.indices & 0xFFFF).to(torch.int32).to(torch.int16),  # wraps; decode masks it again
            "ids_high": pack_bits(top.indices >> 16, high_bits(logits_NV.shape[1])),
            "logits": (top.values - largest_N1).to(torch.float16),
            "log_normalizers": torch.stack(normalizers, dim=1),
        }
        return {name: tensor.cpu() for name, tensor in rows.items()}


def decode(rows: Mapping[str, Tensor], vocabulary: int, tail_shape_V: Tensor | None) -> TopkTeacher:
    """What `TopkEncoder.encode` packed, as the loss takes it."""
    low_NK = rows["ids_low"].long() & 0xFFFF
    high_NK = unpack_bits(rows["ids_high"], high_bits(vocabulary), low_NK.shape[1])
    return TopkTeacher(
        ids=low_NK | (high_NK << 16),
        logits=rows["logits"].float(),
        log_normalizer=rows["log_normalizers"][:, 1],
        tail_shape=tail_shape_V,
    )


def high_bits(vocabulary: int) -> int:
    """Bits of an id above the lowest 16: 0, 2 or 4."""
    for bits in (0, 2, 4):
        if vocabulary <= 1 << (16 + bits):
            return bits
    raise UserError(f"teacher_signal='topk': a vocabulary of {vocabulary:,} is too large for it; use hidden")


def pack_bits(values_NK: Tensor, bits: int) -> Tensor:
    """Join 8 / bits values below 2**bits into a byte: [N, ceil(K * bits / 8)], uint8."""
    if bits == 0:
        return torch.zeros(len(values_NK), 0, dtype=torch.uint8)
    per_byte = 8 // bits
    padded = torch.nn.functional.pad(values_NK, (0, -values_NK.shape[1] % per_byte))
    shifts = torch.arange(0, 8, bits, device=padded.device)
    bytes_NB8 = padded.reshape(len(padded), -1, per_byte) << shifts
    return bytes_NB8.sum(-1).to(torch.uint8)


def unpack_bits(packed: Tensor, bits: int, number: int) -> Tensor:
    """The first `number` values a row that `pack_bits` joined, [N, number]."""
    if bits == 0:
        return torch.zeros(len(packed), number, dtype=torch.long, device=packed.device)
    shifts = torch.arange(0, 8, bits, device=packed.device)
    return (packed.long()[:, :, None] >> shifts & ((1 << bits) - 1)).flatten(1)[:, :number]


class TailShape:
    """Accumulates the mean distribution at T outside the top K."""

    def __init__(self, encoder: TopkEncoder) -> None:
        self.encoder = encoder
        self._sum_V: Tensor | None = None

    def add(self, logits_NV: Tensor) -> None:
        """Take N more rows into the mean."""
        probs_NV = (logits_NV.float() / self.encoder.temperature).softmax(-1)
        probs_NV.scatter_(1, logits_NV.topk(self.encoder.topk, dim=-1).indices, 0.0)
        rows_V = probs_NV.sum(0)
        self._sum_V = rows_V if self._sum_V is None else self._sum_V + rows_V

    def log(self) -> Tensor:
        """Log of the shape [V], float32; no token is impossible."""
        assert self._sum_V is not None
        return (self._sum_V / self._sum_V.sum().clamp_min(1e-30)).clamp_min(1e-12).log().cpu()


@dataclass(frozen=True)
class TopkCheck:
    """How well top-k signals stand in for the whole distribution, on a sample of response tokens.

    Attributes:
        tail_mass: mean probability at T outside the top K.
        divergence_error: difference of the summed divergences, relative to the exact one.
        gradient_cosine: mean over tokens of the cosine of the divergence's logit gradients.
    """

    tail_mass: float
    divergence_error: float
    gradient_cosine: float

    def warnings(self) -> list[str]:
        """What the report must say of these signals; a student close to the teacher mostly sees the tail's error."""
        if self.divergence_error <= MAX_DIVERGENCE_ERROR:
            return []
        return [
            f"topk signals misstate the divergence by {self.divergence_error:.0%} at the start of KD "
            f"({self.tail_mass:.0%} of the teacher's mass lies outside the top k); hidden signals are exact"
        ]

    def require_usable(self, config: ExperimentConfig) -> None:
        """Refuse signals that would train towards something else.

        Raises:
            UserError: the gradients agree too little.
        """
        if self.gradient_cosine < MIN_GRADIENT_COSINE:
            raise UserError(
                f"topk={config.topk}: at temperature={config.temperature} {self.tail_mass:.0%} of the teacher's mass "
                f"lies outside the top k, and the gradient's cosine with the exact one is {self.gradient_cosine:.3f} "
                f"(at least {MIN_GRADIENT_COSINE} is needed); use --teacher_signal hidden, or raise --topk"
            )


def check_topk(
    student_logits_NV: Tensor, exact_logits_NV: Tensor, teacher: TopkTeacher, config: ExperimentConfig
) -> TopkCheck:
    """Compare the divergence that `config` sets, from `teacher` and from the exact logits of the same rows."""
    student_NV = student_logits_NV.float()
    objective = Objective(0.0, config.temperature, config.divergence, config.divergence_beta, IDENTITY, IDENTITY)
    approximate_NV = torch.empty_like(student_NV)
    write_teacher_logits(approximate_NV, teacher, slice(None), student_NV, objective)
    exact, exact_gradient = _divergence(student_NV, exact_logits_NV, config)
    ours, gradient = _divergence(student_NV, approximate_NV, config)
    kept_NK = (teacher.logits / config.temperature - teacher.log_normalizer[:, None]).exp()
    return TopkCheck(
        tail_mass=float(1 - kept_NK.sum(1).mean()),
        divergence_error=abs(ours - exact) / exact,
        gradient_cosine=float(torch.cosine_similarity(gradient, exact_gradient, dim=-1).mean()),
    )


def _divergence(student_NV: Tensor, teacher_NV: Tensor, config: ExperimentConfig) -> tuple[float, Tensor]:
    """The divergence summed over the rows, and its gradient with respect to the student's logits [N, V]."""
    student = student_NV.detach().requires_grad_()
    labels = torch.zeros(len(student), dtype=torch.long, device=student.device)  # alpha = 0 gives them no weight
    loss = distillation_loss(
        student,
        teacher_NV,
        labels,
        alpha=0.0,
        temperature=config.temperature,
        divergence=config.divergence,
        beta=config.divergence_beta,
    )
    (gradient,) = torch.autograd.grad(loss.loss_sum, student)
    return float(loss.divergence_sum), gradient
