"""The topk signal: the K largest logits of a token, the exact mass outside them, and a check of its accuracy.

At T = 2 most of the teacher's softened mass is outside any top K. Its amount is stored exactly (through the
log-normaliser), its shape approximately (through `l2s.signals.tail`).

Shapes: N rows, K kept logits, V common vocabulary, H hidden size, R components of the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.loss.logit_transform import IDENTITY
from l2s.loss.reference import DIVERGENCES
from l2s.loss.targets import LowRankTail, TopkTargets, write_teacher_logits
from l2s.signals.tail import LEVELS, OFFSET_FACTORS, TailModel, weights
from l2s.warning import Warned, warned

MIN_GRADIENT_COSINE = 0.9  # below it the gradient misleads; `hidden` is then worth its disk space

MAX_DIVERGENCE_ERROR = 0.25  # above it the KD loss measures the tail model more than the student

LOGIT_BITS = 12  # bits of a stored logit, between the row's largest and smallest; bfloat16 has 8
CODE_BITS = (LEVELS - 1).bit_length()
MIN_OFFSET = -1e4  # log of a tail mass of 0; finite, so that it can be split and multiplied


@dataclass(frozen=True)
class TopkEncoder:
    """Packs logits into the rows that are stored: 288 bytes a token at K = 64 and V from 131,073 to 262,144.

    Each number takes as few bits as it needs, except a row's four scalars. Logits, log-normalisers and the tail are
    relative to the row's largest logit.
    """

    topk: int
    temperature: float
    tail: TailModel

    def encode(self, logits_NV: Tensor, hidden_NH: Tensor) -> dict[str, Tensor]:
        """Rows on the CPU.

        `ids`, `logits` and `tail_codes` are packed; float32 are `logit_steps` [N], `log_normalizers` [N, 2] (at T = 1
        and at T) and `tail_offsets` [N].
        """
        shifted_NV = logits_NV.float() - logits_NV.amax(-1, keepdim=True)
        top = shifted_NV.topk(self.topk, dim=-1)
        step_N1 = -top.values[:, -1:] / (2**LOGIT_BITS - 1)
        normalizers = [(shifted_NV / temperature).logsumexp(-1) for temperature in (1.0, self.temperature)]
        codes_NR = self.tail.codes(hidden_NH)
        log_mass_N = self._log_tail(shifted_NV, top.indices) - normalizers[1]
        offset_N = self.temperature * (log_mass_N - self._log_tail(self.tail.logits(codes_NR), top.indices))
        rows = {
            "ids": pack_bits(top.indices, id_bits(logits_NV.shape[1])),
            "logits": pack_bits((-top.values / step_N1.clamp_min(1e-30)).round().long(), LOGIT_BITS),
            "logit_steps": step_N1[:, 0],
            "log_normalizers": torch.stack(normalizers, dim=1),
            "tail_codes": pack_bits(codes_NR, CODE_BITS),
            "tail_offsets": offset_N.nan_to_num(nan=MIN_OFFSET, neginf=MIN_OFFSET),
        }
        return {name: tensor.cpu() for name, tensor in rows.items()}

    def _log_tail(self, logits_NV: Tensor, ids_NK: Tensor) -> Tensor:
        """log of the sum of exp(logits / T) outside the ids, [N]; overwrites the logits."""
        return logits_NV.scatter_(1, ids_NK, -torch.inf).div_(self.temperature).logsumexp(-1)


def bytes_per_row(topk: int, vocabulary: int, rank: int) -> int:
    """Bytes per token of what `TopkEncoder.encode` returns."""
    packed = [topk * id_bits(vocabulary), topk * LOGIT_BITS, rank * CODE_BITS]
    return sum(-(-bits // 8) for bits in packed) + 4 * 4


def decode(rows: Mapping[str, Tensor], topk: int, tail_factors_VF: Tensor) -> TopkTargets:
    """The targets of rows that `TopkEncoder.encode` packed; `tail_factors_VF` are `TailModel.factors`."""
    vocabulary, rank = len(tail_factors_VF), tail_factors_VF.shape[1] - OFFSET_FACTORS
    codes_NR = unpack_bits(rows["tail_codes"], CODE_BITS, rank)
    return TopkTargets(
        ids=unpack_bits(rows["ids"], id_bits(vocabulary), topk),
        logits=-rows["logit_steps"][:, None] * unpack_bits(rows["logits"], LOGIT_BITS, topk),
        log_normalizer=rows["log_normalizers"][:, 1],
        tail=LowRankTail(weights(codes_NR, rows["tail_offsets"][:, None]), tail_factors_VF),
    )


def id_bits(vocabulary: int) -> int:
    """Number of bits of an id."""
    return max(1, (vocabulary - 1).bit_length())


def pack_bits(values_NK: Tensor, bits: int) -> Tensor:
    """Join values below 2**bits, lowest bits first: [N, ceil(K * bits / 8)], uint8."""
    bits_NKb = values_NK[:, :, None] >> torch.arange(bits, device=values_NK.device) & 1
    padded = torch.nn.functional.pad(bits_NKb.flatten(1), (0, -values_NK.shape[1] * bits % 8))
    bytes_NB8 = padded.reshape(len(padded), padded.shape[1] // 8, 8) << torch.arange(8, device=values_NK.device)
    return bytes_NB8.sum(-1).to(torch.uint8)


def unpack_bits(packed_NB: Tensor, bits: int, number: int) -> Tensor:
    """The first `number` values of each row that `pack_bits` joined, [N, number]."""
    bits_NB8 = packed_NB.long()[:, :, None] >> torch.arange(8, device=packed_NB.device) & 1
    bits_NKb = bits_NB8.flatten(1)[:, : number * bits].reshape(len(packed_NB), number, bits)
    return (bits_NKb << torch.arange(bits, device=packed_NB.device)).sum(-1)


@dataclass(frozen=True)
class TopkCheck:
    """How close top-k signals are to the whole distribution, on a sample of response tokens.

    Attributes:
        tail_mass: mean probability at T outside the top K.
        divergence_error: mean absolute error of a token's divergence, relative to the mean divergence.
        divergence_bias: mean signed error, which is what remains in a sum over many tokens.
        gradient_cosine: mean over tokens of the cosine between the approximate and the exact logit gradient.
        gradient_cosine_p5: its 5th percentile.
    """

    tail_mass: float
    divergence_error: float
    divergence_bias: float
    gradient_cosine: float
    gradient_cosine_p5: float

    def warnings(self) -> list[Warned]:
        """Warnings for the report. For a student close to the teacher, the tail's error dominates the divergence."""
        if self.divergence_error <= MAX_DIVERGENCE_ERROR:
            return []
        return [warned("topk", error=self.divergence_error, bias=self.divergence_bias, tail=self.tail_mass)]

    def require_usable(self, config: ExperimentConfig) -> None:
        """Refuse signals whose gradient points away from the exact one.

        Raises:
            UserError: the cosine is below MIN_GRADIENT_COSINE.
        """
        if self.gradient_cosine < MIN_GRADIENT_COSINE:
            raise UserError(
                f"topk={config.topk}: at temperature={config.temperature} {self.tail_mass:.0%} of the teacher's mass "
                f"lies outside the top k, and the gradient's cosine with the exact one is {self.gradient_cosine:.3f} "
                f"(at least {MIN_GRADIENT_COSINE} is needed); use --teacher_signal hidden, or raise --topk"
            )


def check_topk(
    student_logits_NV: Tensor, exact_logits_NV: Tensor, targets: TopkTargets, config: ExperimentConfig
) -> TopkCheck:
    """Compare the divergence that `config` sets, from `targets` and from the exact logits of the same rows.

    As in training, the teacher's rows are written in the dtype of the student's logits.
    """
    approximate_NV = torch.empty_like(student_logits_NV)
    write_teacher_logits(approximate_NV, targets, slice(None), student_logits_NV, config.temperature, IDENTITY)
    exact_N, exact_gradient = _divergence(student_logits_NV, exact_logits_NV, config)
    ours_N, gradient = _divergence(student_logits_NV, approximate_NV, config)
    error_N, total = ours_N - exact_N, exact_N.sum().clamp_min(torch.finfo(exact_N.dtype).tiny)
    cosines_N = torch.cosine_similarity(gradient, exact_gradient, dim=-1)
    kept_NK = (targets.logits / config.temperature - targets.log_normalizer[:, None]).exp()
    return TopkCheck(
        tail_mass=float(1 - kept_NK.sum(1).mean()),
        divergence_error=float(error_N.abs().sum() / total),
        divergence_bias=float(error_N.sum() / total),
        gradient_cosine=float(cosines_N.mean()),
        gradient_cosine_p5=float(cosines_N.quantile(0.05)),
    )


def _divergence(student_NV: Tensor, teacher_NV: Tensor, config: ExperimentConfig) -> tuple[Tensor, Tensor]:
    """The divergence of each row [N], and its gradient with respect to the student's logits [N, V]."""
    student = student_NV.detach().float().requires_grad_()
    log_p, log_q = ((logits / config.temperature).log_softmax(-1) for logits in (student, teacher_NV.float()))
    divergence_N = DIVERGENCES[config.divergence](log_p, log_q, config.divergence_beta)
    (gradient,) = torch.autograd.grad(divergence_N.sum(), student)
    return divergence_N.detach(), gradient
