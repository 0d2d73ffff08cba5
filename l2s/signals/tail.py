"""A model of the logits outside the top K: a mean shape plus a few components per token.

Logits are linear in the hidden state, so a few directions of the hidden state explain most of the difference between
the tails of two tokens. They are the principal components under a metric that weighs a change of the hidden state by
its effect on the tail's logits: with M = cov_w(W), W the head and w the mean tail distribution at T, and S the
covariance of the hidden states h (a token weighs as much as its tail has mass),

    M = L L',   L' S L = U diag(lambda) U',   c = U' L' (h - mean),   logits ~ shape + W L'^-1 U c

with the R largest lambda. The shape is chosen so that the model's mean tail is w.

Shapes: N rows, H hidden size, V common vocabulary, R components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from l2s.loss.logit_transform import LogitTransform

RANK = 64  # components; a token then takes at most 300 bytes at K = 64
LEVELS = 16  # quantiser levels of a component: 4 bits
STEP = 0.335  # step of the quantiser in standard deviations: best for 16 levels of a Gaussian (Max 1960, table I)
OFFSET_FACTORS = 4  # columns of `TailModel.factors` after the basis
HEAD_ROWS = 16_384  # rows of the head widened to fp32 at a time
PREFIX = "tail_"  # prefix of its tensors among the shared ones


@dataclass(frozen=True)
class TailModel:
    """Tail logits = shape + basis @ (code - (LEVELS - 1) / 2), up to a constant that gives the tail its mass.

    Attributes:
        shape: [V], float32; no token has probability 0.
        basis: [V, R], bfloat16: what one step of a code adds.
        mean: [H], the hidden state at the middle of the codes.
        projection: [H, R], from hidden states to steps.
    """

    shape: Tensor
    basis: Tensor
    mean: Tensor
    projection: Tensor

    @classmethod
    def of(cls, shared: Mapping[str, Tensor]) -> TailModel:
        """The model that `tensors` stored."""
        return cls(*(shared[PREFIX + name] for name in ("shape", "basis", "mean", "projection")))

    def tensors(self) -> dict[str, Tensor]:
        """The model's tensors by name, contiguous and on the CPU, ready to be stored."""
        return {PREFIX + name: tensor.cpu().contiguous() for name, tensor in self._parts().items()}

    def to(self, device: torch.device) -> TailModel:
        """A copy on `device`."""
        return TailModel(*(tensor.to(device) for tensor in self._parts().values()))

    def _parts(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def codes(self, hidden_NH: Tensor) -> Tensor:
        """The quantised components, integers from 0 to LEVELS - 1, [N, R]."""
        steps_NR = (hidden_NH.float() - self.mean) @ self.projection
        return (steps_NR + LEVELS / 2).floor().clamp(0, LEVELS - 1).long()

    def logits(self, codes_NR: Tensor) -> Tensor:
        """Tail logits [N, V] in fp32, up to a constant for each row."""
        return torch.addmm(self.shape, steps(codes_NR), self._wide_basis)

    @cached_property
    def _wide_basis(self) -> Tensor:  # [R, V], converted once: it is larger than all that a few rows need
        return self.basis.float().t().contiguous()

    def factors(self) -> Tensor:
        """[V, R + 4] in bfloat16, to multiply with `weights`: basis, shape in two parts, two columns of ones."""
        high_V = self.shape.bfloat16()
        low_V = (self.shape - high_V.float()).bfloat16()
        ones_V = torch.ones_like(high_V)
        return torch.cat([self.basis, torch.stack([high_V, low_V, ones_V, ones_V], dim=1)], dim=1)


def steps(codes: Tensor) -> Tensor:
    """The middle of each code's interval, in steps from the mean; exact even in bfloat16."""
    return codes.float() - (LEVELS - 1) / 2


def weights(codes_NR: Tensor, offset_N1: Tensor) -> Tensor:
    """[N, R + 4], float32: weights @ factors.T are tail logits plus the offset.

    Shape and offset are split so that a product in bfloat16, which adds in fp32, keeps 16 bits of each.
    """
    high_N1 = offset_N1.bfloat16().float()
    ones_N1 = torch.ones_like(high_N1)
    return torch.cat([steps(codes_NR), ones_N1, ones_N1, high_N1, offset_N1 - high_N1], dim=1)


@dataclass(frozen=True)
class SampleRows:
    """Sampled tokens for the fit: hidden states [N, H] in fp32, top ids [N, K], and the mass outside them [N, 1]."""

    hidden: Tensor
    ids: Tensor
    tail_mass: Tensor


class TailFit:
    """Fits a `TailModel` to a sample of tokens."""

    def __init__(self, head_VH: Tensor, topk: int, temperature: float) -> None:
        self.head_VH = head_VH
        self.topk = topk
        self.temperature = temperature
        self._probs_V = torch.zeros(len(head_VH), device=head_VH.device)
        self._parts: list[SampleRows] = []

    def add(self, hidden_NH: Tensor, logits_NV: Tensor) -> None:
        """Add N tokens to the sample."""
        ids_NK = logits_NV.topk(self.topk, dim=-1).indices
        probs_NV = (logits_NV.float() / self.temperature).softmax(-1).scatter_(1, ids_NK, 0.0)
        self._probs_V += probs_NV.sum(0)
        self._parts.append(SampleRows(hidden_NH.float(), ids_NK, probs_NV.sum(-1, keepdim=True)))

    def model(self, rank: int, transform: LogitTransform) -> TailModel:
        """The model with `rank` components. The slope of a softcap is ignored: it bends only the largest logits."""
        mass = self._probs_V.sum().clamp_min(torch.finfo(torch.float32).tiny)
        mean_V = self._probs_V / mass
        mean_H, covariance_HH = self._moments(mass)
        down_HR, up_HR = principal_components(covariance_HH, self._metric(mean_V) * transform.scale**2, rank)
        basis_VR = self._on_head(up_HR * transform.scale)
        basis_VR = (basis_VR - mean_V @ basis_VR).bfloat16()
        shape_V = self.temperature * _log(mean_V)
        first = TailModel(shape_V, basis_VR, mean_H, down_HR)
        # The exponentials of the components raise the mean tail; correcting the shape once is enough.
        excess_V = self.temperature * (_log(self._probs_of(first) / mass) - _log(mean_V))
        return replace(first, shape=shape_V - excess_V)

    def _moments(self, mass: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [H] and covariance [H, H] of the hidden states; a token's weight is the mass of its tail."""
        size, device = self.head_VH.shape[1], self.head_VH.device
        first_H, second_HH = torch.zeros(size, device=device), torch.zeros(size, size, device=device)
        for part in self._parts:
            weighted_NH = part.hidden * part.tail_mass / mass
            first_H += weighted_NH.sum(0)
            second_HH += weighted_NH.t() @ part.hidden
        return first_H, second_HH - torch.outer(first_H, first_H)

    def _probs_of(self, model: TailModel) -> Tensor:
        """The sum over the sample of the tail distributions of `model`, [V]."""
        sum_V = torch.zeros_like(self._probs_V)
        for part in self._parts:
            logits_NV = model.logits(model.codes(part.hidden)).scatter_(1, part.ids, -torch.inf)
            sum_V += (logits_NV.div_(self.temperature).softmax(-1) * part.tail_mass).sum(0)
        return sum_V

    def _metric(self, mean_V: Tensor) -> Tensor:
        """Covariance [H, H] of the head's rows, weighted by the mean tail."""
        size, device = self.head_VH.shape[1], self.head_VH.device
        second_HH, first_H = torch.zeros(size, size, device=device), torch.zeros(size, device=device)
        for head_BH, mean_B in self._head_blocks(mean_V):
            weighted_BH = head_BH * mean_B[:, None]
            second_HH += weighted_BH.t() @ head_BH
            first_H += weighted_BH.sum(0)
        return second_HH - torch.outer(first_H, first_H)

    def _on_head(self, matrix_HR: Tensor) -> Tensor:
        return torch.cat([head_BH @ matrix_HR for head_BH, _ in self._head_blocks(self._probs_V)])

    def _head_blocks(self, values_V: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """The head in fp32, HEAD_ROWS rows at a time, with the values of these rows."""
        heads, values = torch.split(self.head_VH, HEAD_ROWS), torch.split(values_V, HEAD_ROWS)
        return ((head_BH.float(), values_B) for head_BH, values_B in zip(heads, values, strict=True))


def principal_components(covariance_HH: Tensor, metric_HH: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Maps from hidden states to quantiser steps [H, R] and back [H, R]; the formulas are in the module docstring."""
    covariance, metric = (
        covariance_HH.double().cpu(),
        metric_HH.double().cpu(),
    )  # on the CPU, so the result is the same on every device
    metric += torch.eye(len(metric)) * (1e-6 * metric.diagonal().mean() + torch.finfo(torch.float32).tiny)
    lower = torch.linalg.cholesky(metric)
    variances, vectors = torch.linalg.eigh(lower.t() @ covariance @ lower)
    variances, vectors = variances.flip(0)[:rank].clamp_min(0), vectors.flip(1)[:, :rank]
    step = STEP * variances.sqrt()
    inverse_step = torch.where(variances > 1e-9 * variances.sum(), 1 / step, 0.0)  # some are 0 for a small sample
    down = lower @ vectors * inverse_step
    up = torch.linalg.solve_triangular(lower.t(), vectors, upper=True) * step
    return down.float().to(covariance_HH.device), up.float().to(covariance_HH.device)


def _log(probs: Tensor) -> Tensor:
    return probs.clamp_min(1e-12).log()
