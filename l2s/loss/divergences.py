"""The divergences between student and teacher, in the closed form of the fused loss: a function and a table row each.

With u = logits / T, p = softmax(u) the student and q the teacher, a divergence D(p) has the gradient

    dD/du_i = p_i (g_i - sum_j p_j g_j),   g_i = dD/dp_i

so two elementwise terms are enough: the summands of D, and p_i g_i (up to a constant in g, which cancels).

`l2s.loss.reference` defines each divergence a second time, on log-probabilities for autograd. The two definitions share
no code, because the tests check one against the other.

torch is not imported: the configuration takes the names from this table before anything heavy is loaded.

Shapes: C rows of a chunk, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_NORMAL = {4: 2.0**-126, 8: 2.0**-1022}  # by bytes per float; its logarithm is finite


@dataclass(frozen=True)
class Terms:
    """Elementwise parts of a divergence [C, V]: D is the sum of `value`; `p_g` is p dD/dp."""

    value: Tensor
    p_g: Tensor


TermsOf = Callable[["Tensor", "Tensor", "Tensor", "Tensor", float], Terms]  # arguments: log p, log q, p, q and beta


def _forward_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    return Terms(q * (log_q - log_p), -q)


def _reverse_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    log_ratio = p * (log_p - log_q)
    return Terms(log_ratio, log_ratio)


def _jsd(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    log_m = _mixture(p, q, beta).log()
    student_part = (1 - beta) * p * (log_p - log_m)
    return Terms(beta * q * (log_q - log_m) + student_part, student_part)


def _skew_kl(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    m = _mixture(p, q, beta)
    return Terms(q * (log_q - m.log()), -(1 - beta) * p * q / m)


def _total_variation(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    difference = p - q
    return Terms(0.5 * difference.abs(), 0.5 * p * difference.sign())


def _mixture(p: Tensor, q: Tensor, beta: float) -> Tensor:
    return (beta * q + (1 - beta) * p).clamp_min(SMALLEST_NORMAL[p.element_size()])


DIVERGENCES: dict[str, TermsOf] = {
    "forward_kl": _forward_kl,
    "reverse_kl": _reverse_kl,
    "jsd": _jsd,
    "skew_kl": _skew_kl,
    "total_variation": _total_variation,
}
ON_POLICY_BETA = {"reverse_kl": 1.0, "forward_kl": 0.0, "jsd": None}  # TRL's beta; None: the configured mixture weight
