"""The reference loss compared with plain Python loops, and the properties that make it the stated objective."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from l2s.loss.reference import DIVERGENCES, IGNORE_INDEX, distillation_loss

BETA = 0.3
VOCABULARY = 11


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp((value - max(logits)) / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def kl(a: list[float], b: list[float]) -> float:
    return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))


def divergence_of(name: str, p: list[float], q: list[float]) -> float:
    m = [BETA * y + (1 - BETA) * x for x, y in zip(p, q, strict=True)]
    return {
        "forward_kl": kl(q, p),
        "reverse_kl": kl(p, q),
        "jsd": BETA * kl(q, m) + (1 - BETA) * kl(p, m),
        "skew_kl": kl(q, m),
        "total_variation": sum(abs(x - y) for x, y in zip(p, q, strict=True)) / 2,
    }[name]


def looped_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, alpha: float, temperature: float, divergence: str
) -> float:
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        if label != IGNORE_INDEX:
            apart = divergence_of(divergence, softmax(s, temperature), softmax(t, temperature))
            total += -alpha * math.log(softmax(s, 1)[label]) + (1 - alpha) * temperature**2 * apart
    return total


@pytest.fixture
def logits() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 6, VOCABULARY, generator=generator, dtype=torch.float64).mul(2).unbind()
    labels = torch.randint(VOCABULARY, (6,), generator=generator)
    labels[2] = IGNORE_INDEX
    return student.requires_grad_(), teacher, labels


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_loss_equals_a_loop_over_tokens(
    logits: tuple[Tensor, Tensor, Tensor], divergence: str, temperature: float, alpha: float
) -> None:
    loss = distillation_loss(*logits, alpha=alpha, temperature=temperature, divergence=divergence, beta=BETA)
    expected = looped_loss(*logits, alpha=alpha, temperature=temperature, divergence=divergence)
    assert loss.loss_sum.item() == pytest.approx(expected, rel=1e-12)
    assert loss.num_tokens == 5


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradient_agrees_with_finite_differences_of_the_returned_loss_at_t_2(
    logits: tuple[Tensor, Tensor, Tensor], divergence: str
) -> None:
    student, teacher, labels = logits

    def loss_sum(student_logits: Tensor) -> Tensor:
        return distillation_loss(
            student_logits, teacher, labels, alpha=0.5, temperature=2, divergence=divergence, beta=BETA
        ).loss_sum

    assert torch.autograd.gradcheck(loss_sum, student)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_every_divergence_is_zero_from_itself_and_positive_from_another(
    logits: tuple[Tensor, Tensor, Tensor], divergence: str
) -> None:
    student, teacher, labels = logits
    settings: dict[str, Any] = {"alpha": 0.0, "temperature": 2.0, "divergence": divergence, "beta": BETA}
    assert distillation_loss(teacher, teacher, labels, **settings).divergence_sum.item() == pytest.approx(0, abs=1e-12)
    assert distillation_loss(student, teacher, labels, **settings).divergence_sum.item() > 0.05


def test_the_parts_add_up_to_the_loss_and_cross_entropy_ignores_the_temperature(
    logits: tuple[Tensor, Tensor, Tensor],
) -> None:
    student, _, labels = logits
    loss = distillation_loss(*logits, alpha=0.3, temperature=4.0)
    torch.testing.assert_close(loss.loss_sum, 0.3 * loss.ce_sum + 0.7 * 16 * loss.divergence_sum)
    torch.testing.assert_close(
        loss.ce_sum, torch.nn.functional.cross_entropy(student, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    )


def test_gradient_of_the_divergence_keeps_its_size_as_the_temperature_grows(
    logits: tuple[Tensor, Tensor, Tensor],
) -> None:
    sizes = []
    for temperature in (50.0, 100.0):
        loss = distillation_loss(*logits, alpha=0.0, temperature=temperature)
        (gradient,) = torch.autograd.grad(loss.loss_sum, logits[0])
        sizes.append(gradient.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_padding_rows_of_the_larger_vocabulary_carry_no_mass(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = logits
    padded = torch.cat([teacher, torch.zeros(len(teacher), 3, dtype=teacher.dtype)], dim=1)
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": 2.0}
    expected = distillation_loss(student, teacher, labels, **settings).loss_sum
    torch.testing.assert_close(distillation_loss(student, padded, labels, **settings).loss_sum, expected)
    assert distillation_loss(teacher, padded, labels, alpha=0, temperature=2).divergence_sum.item() == 0
    assert distillation_loss(padded, teacher, labels, alpha=0, temperature=2).divergence_sum.item() == 0


def test_a_teacher_that_rules_tokens_out_gives_a_finite_forward_kl(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = logits
    teacher[:, 4:] = -math.inf
    loss = distillation_loss(student, teacher, labels, alpha=0.0, temperature=2.0).loss_sum
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_alpha_1_is_cross_entropy_with_or_without_a_teacher(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = logits
    taught = distillation_loss(student, teacher, labels, alpha=1.0, temperature=2.0)
    alone = distillation_loss(student, None, labels, alpha=1.0, temperature=2.0)
    assert torch.equal(taught.loss_sum, alone.loss_sum)
    assert torch.equal(alone.loss_sum, alone.ce_sum)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_a_batch_without_counted_tokens_has_loss_and_gradient_zero(
    logits: tuple[Tensor, Tensor, Tensor], alpha: float
) -> None:
    student, teacher, labels = logits
    loss = distillation_loss(student, teacher, torch.full_like(labels, IGNORE_INDEX), alpha=alpha, temperature=2.0)
    (gradient,) = torch.autograd.grad(loss.loss_sum, student)
    assert (loss.loss_sum.item(), loss.num_tokens, gradient.abs().sum().item()) == (0, 0, 0)


def test_logits_may_have_batch_and_time_dimensions_and_half_precision_is_summed_in_fp32(
    logits: tuple[Tensor, Tensor, Tensor],
) -> None:
    student, teacher, labels = logits
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": 2.0}
    shaped = distillation_loss(
        student.view(2, 3, -1).bfloat16(), teacher.view(2, 3, -1).bfloat16(), labels.view(2, 3), **settings
    )
    assert shaped.loss_sum.dtype == torch.float32
    expected = distillation_loss(student, teacher, labels, **settings).loss_sum.item()
    assert shaped.loss_sum.item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"divergence": "kl"}, "divergence='kl': must be one of forward_kl"),
        ({"beta": 1.0}, "beta=1.0"),
    ],
)
def test_a_setting_out_of_range_is_named(
    logits: tuple[Tensor, Tensor, Tensor], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        distillation_loss(*logits, **({"alpha": 0.5, "temperature": 2.0} | changes))


def test_inputs_that_do_not_fit_are_refused(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, labels = logits
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": 2.0}
    with pytest.raises(ValueError, match="a teacher is needed"):
        distillation_loss(student, None, labels, **settings)
    with pytest.raises(ValueError, match="do not fit student_logits"):
        distillation_loss(student, teacher, labels[1:], **settings)
    with pytest.raises(ValueError, match="do not fit teacher_logits"):
        distillation_loss(student, teacher[1:], labels, **settings)
    with pytest.raises(ValueError, match="label 9: outside the vocabulary of 8"):
        distillation_loss(student, teacher[:, :8], labels.fill_(9), **settings)
