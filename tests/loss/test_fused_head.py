"""The fused head compared with numpy loops, the reference loss, finite differences, and itself under every split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from l2s.loss import fused_head
from l2s.loss.buffers import logits_buffer
from l2s.loss.fused_head import HiddenTargets, LogitTransform, fused_distillation_loss
from l2s.loss.reference import DIVERGENCES, IGNORE_INDEX, distillation_loss
from support.head_pair import BETA, ROWS, STUDENT_SIZE, VOCABULARY, Array, Pair, assert_agree


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def looped_forward_kl(pair: Pair, alpha: float, temperature: float) -> tuple[float, Array, Array]:
    """Loss and gradients, one token at a time: alpha (p - onehot) + (1 - alpha) T (p_T - q_T) for each logit."""
    hidden, weight = pair.hidden.detach().numpy(), pair.weight.detach().numpy()
    loss, hidden_gradient, weight_gradient = 0.0, np.zeros_like(hidden), np.zeros_like(weight)
    for row, label in enumerate(pair.labels.tolist()):
        if label == IGNORE_INDEX:
            continue
        logits, taught = weight @ hidden[row], pair.teacher_logits[row].numpy()
        p, p_soft, q_soft = softmax(logits), softmax(logits / temperature), softmax(taught / temperature)
        kl = float((q_soft * np.log(q_soft / p_soft)).sum())
        loss += -alpha * float(np.log(p[label])) + (1 - alpha) * temperature**2 * kl
        slope = alpha * (p - np.eye(len(p))[label]) + (1 - alpha) * temperature * (p_soft - q_soft)
        hidden_gradient[row] = slope @ weight
        weight_gradient += np.outer(slope, hidden[row])
    return loss, hidden_gradient, weight_gradient


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_value_and_gradients_equal_a_loop_over_tokens(temperature: float, alpha: float) -> None:
    pair = Pair()
    loss = pair.fused(alpha=alpha, temperature=temperature, chunk_rows=4)
    expected_loss, *expected = looped_forward_kl(pair, alpha, temperature)
    assert loss.loss_sum.item() == pytest.approx(expected_loss, rel=1e-10)
    for gradient, array in zip(pair.gradients(loss), expected, strict=True):
        np.testing.assert_allclose(gradient.numpy(), array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_every_divergence_equals_the_reference(divergence: str, temperature: float, alpha: float) -> None:
    pair = Pair()
    settings = {"divergence": divergence, "temperature": temperature, "alpha": alpha}
    assert_agree(pair, pair.fused(**settings), pair.reference(**settings))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("teacher", ["hidden", "topk", "tail class"])
def test_gradient_agrees_with_finite_differences_of_the_returned_loss_at_t_2(divergence: str, teacher: str) -> None:
    pair = Pair()
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": 2.0, "divergence": divergence, "beta": BETA}
    settings["targets"] = {
        "hidden": HiddenTargets(pair.teacher_hidden, pair.teacher_weight),
        "topk": pair.topk(6, 2.0, with_tail=True),
        "tail class": pair.topk(6, 2.0, with_tail=False),
    }[teacher]

    def loss_sum(hidden: Tensor, weight: Tensor) -> Tensor:
        return fused_distillation_loss(hidden, weight, pair.labels, **settings).loss_sum

    assert torch.autograd.gradcheck(loss_sum, (pair.hidden, pair.weight))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("with_tail", [False, True])
def test_topk_of_the_whole_vocabulary_is_exact(divergence: str, with_tail: bool) -> None:
    pair = Pair()
    teacher = pair.topk(VOCABULARY, 2.0, with_tail=with_tail)
    assert_agree(pair, pair.fused(divergence=divergence, targets=teacher), pair.fused(divergence=divergence))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
def test_topk_with_a_tail_equals_the_reference_on_probabilities_written_out_id_by_id(
    temperature: float, divergence: str
) -> None:
    pair = Pair()
    teacher = pair.topk(6, temperature, with_tail=True)
    q = np.empty((ROWS, VOCABULARY))
    for row, exact in enumerate(pair.teacher_logits.numpy()):
        kept = teacher.ids[row].tolist()
        tail = pair.teacher_weight[:, :2].numpy() @ pair.teacher_hidden[row, :2].numpy()
        q[row] = np.exp(tail / temperature)
        outside = [v for v in range(VOCABULARY) if v not in kept]
        q[row] *= softmax(exact / temperature)[outside].sum() / q[row][outside].sum()
        q[row][kept] = softmax(exact / temperature)[kept]
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-12)
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": temperature, "divergence": divergence, "beta": BETA}
    student = pair.hidden @ pair.weight.T
    expected = distillation_loss(student, temperature * torch.from_numpy(q).log(), pair.labels, **settings)
    assert_agree(pair, pair.fused(targets=teacher, **settings), expected)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("student", [LogitTransform(), LogitTransform(scale=0.7, cap=2.0)])
def test_topk_without_a_tail_compares_the_tail_as_one_class(student: LogitTransform, divergence: str) -> None:
    pair = Pair()
    teacher = pair.topk(6, 2.0, with_tail=False)
    q = (teacher.logits / 2 - teacher.log_normalizer[:, None]).exp()
    p = (student.apply(pair.hidden @ pair.weight.T) / 2).softmax(-1).gather(1, teacher.ids)
    with_tail = [torch.cat([mass, 1 - mass.sum(-1, keepdim=True)], dim=1) for mass in (p, q)]
    counted = pair.labels != IGNORE_INDEX
    expected = DIVERGENCES[divergence](with_tail[0].log(), with_tail[1].log(), BETA)[counted].sum()
    loss = pair.fused(alpha=0.0, divergence=divergence, targets=teacher, student_transform=student)
    torch.testing.assert_close(loss.divergence_sum, expected)
    for gradient, reference in zip(
        pair.gradients(loss), torch.autograd.grad(4 * expected, (pair.hidden, pair.weight)), strict=True
    ):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_padding_rows_of_the_student_are_no_part_of_the_tail_class(divergence: str) -> None:
    pair = Pair()
    teacher = pair.topk(6, 2.0, with_tail=False)
    expected = pair.fused(divergence=divergence, targets=teacher)
    expected_gradients = pair.gradients(expected)
    pair.weight = torch.cat([pair.weight.detach(), torch.ones(5, STUDENT_SIZE)]).requires_grad_()
    loss = pair.fused(divergence=divergence, targets=replace(teacher, vocabulary=VOCABULARY))
    hidden_gradient, weight_gradient = pair.gradients(loss)
    torch.testing.assert_close(loss[:3], expected[:3])
    torch.testing.assert_close(hidden_gradient, expected_gradients[0])
    torch.testing.assert_close(weight_gradient[:VOCABULARY], expected_gradients[1])
    assert torch.equal(weight_gradient[VOCABULARY:], torch.zeros(5, STUDENT_SIZE, dtype=torch.float64))
    counted = pair.fused(divergence=divergence, targets=teacher)  # without a known vocabulary: the student's
    assert abs(counted.divergence_sum - expected.divergence_sum) > 1e-3


@pytest.mark.parametrize("vocabulary", [50, 151_936, 10**9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_logits_of_a_chunk_stay_below_their_share_of_memory(vocabulary: int, dtype: torch.dtype) -> None:
    rows = fused_head._chunk_rows(torch.empty(vocabulary, 7, dtype=dtype, device="meta"))
    size = rows * vocabulary * dtype.itemsize
    assert fused_head.CHUNK_BYTES / 2 < size <= fused_head.CHUNK_BYTES or rows == 1


def test_no_more_logits_exist_than_those_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    sizes: list[int] = []

    def watched(purpose: str, rows: int, vocabulary: int, *place: Any) -> Tensor:
        sizes.append(rows * vocabulary * 8)
        return logits_buffer(purpose, rows, vocabulary, *place)

    monkeypatch.setattr(fused_head, "CHUNK_BYTES", 3 * VOCABULARY * 8)
    monkeypatch.setattr(fused_head, "logits_buffer", watched)
    pair.fused()
    assert len(sizes) == 2 * 3  # student and teacher; 8 counted rows in chunks of 3
    assert max(sizes) == fused_head.CHUNK_BYTES


@pytest.mark.parametrize("chunk_rows", [1, 3, 8, 100])
def test_the_size_of_chunks_does_not_matter(chunk_rows: int) -> None:
    pair = Pair()
    assert_agree(pair, pair.fused(chunk_rows=chunk_rows), pair.fused())


def test_uncounted_rows_change_nothing_and_get_no_gradient() -> None:
    pair = Pair()
    before = pair.fused()
    hidden_gradient, _ = pair.gradients(before)
    assert torch.equal(hidden_gradient[2], torch.zeros(STUDENT_SIZE, dtype=torch.float64))
    with torch.no_grad():
        pair.hidden[2], pair.teacher_hidden[2] = float("nan"), float("nan")
    assert torch.equal(pair.fused().loss_sum, before.loss_sum)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_batch_without_counted_tokens_has_loss_and_gradient_zero(alpha: float, dtype: torch.dtype) -> None:
    pair = Pair(dtype)
    pair.labels.fill_(IGNORE_INDEX)
    loss = pair.fused(alpha=alpha)
    assert (loss.loss_sum.item(), loss.num_tokens) == (0, 0)
    for gradient in pair.gradients(loss):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_alpha_1_is_sft_to_the_bit_and_never_touches_the_teacher(dtype: torch.dtype) -> None:
    pair = Pair(dtype)
    alone = pair.fused(alpha=1.0, targets=None)
    pair.teacher_hidden.fill_(float("nan"))
    taught = pair.fused(alpha=1.0)
    assert torch.equal(taught.loss_sum, alone.loss_sum)
    for a, b in zip(pair.gradients(taught), pair.gradients(alone), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_frozen_head_gives_the_same_hidden_gradient_and_no_gradient_of_its_own(dtype: torch.dtype) -> None:
    pair = Pair(dtype)
    trained, _ = pair.gradients(pair.fused())
    pair.weight.requires_grad_(False)
    (frozen,) = torch.autograd.grad(pair.fused().loss_sum, pair.hidden)
    assert torch.equal(frozen, trained)


def test_a_weight_tied_to_the_embedding_adds_both_gradients() -> None:
    pair = Pair()
    tokens = torch.arange(ROWS)
    losses = [
        fused_distillation_loss(pair.weight[tokens], pair.weight, pair.labels, alpha=1.0, temperature=1.0),
        distillation_loss(pair.weight[tokens] @ pair.weight.T, None, pair.labels, alpha=1.0, temperature=1.0),
    ]
    fused, reference = [torch.autograd.grad(loss.loss_sum, pair.weight)[0] for loss in losses]
    torch.testing.assert_close(fused, reference)


def test_the_upstream_gradient_scales_ours_and_the_graph_may_be_walked_twice() -> None:
    pair = Pair()
    loss = pair.fused()
    once = torch.autograd.grad(loss.loss_sum / 7, (pair.hidden, pair.weight), retain_graph=True)
    again = torch.autograd.grad(loss.loss_sum, (pair.hidden, pair.weight))
    for a, b in zip(once, again, strict=True):
        torch.testing.assert_close(a * 7, b)


@pytest.mark.parametrize("extra", [-5, 5])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_unequal_vocabularies_with_identical_distributions_are_no_distance_apart(divergence: str, extra: int) -> None:
    pair = Pair()
    rows = torch.cat([pair.weight.detach(), torch.zeros(5, STUDENT_SIZE, dtype=torch.float64)])[: VOCABULARY + extra]
    pair.labels[pair.labels >= VOCABULARY + extra] = 0
    loss = pair.fused(alpha=0.0, divergence=divergence, targets=HiddenTargets(pair.hidden.detach(), rows))
    assert loss.divergence_sum.item() == pytest.approx(0, abs=1e-13)
    if extra < 0:
        assert torch.equal(pair.gradients(loss)[1][extra:], torch.zeros(5, STUDENT_SIZE, dtype=torch.float64))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_softcaps_and_scales_of_both_heads_are_honoured(divergence: str) -> None:
    pair = Pair()
    student, teacher = LogitTransform(scale=0.7, cap=2.0), LogitTransform(scale=1.5)
    loss = pair.fused(
        divergence=divergence,
        student_transform=student,
        targets=HiddenTargets(pair.teacher_hidden, pair.teacher_weight, teacher),
    )
    expected = distillation_loss(
        student.apply(pair.hidden @ pair.weight.T),
        teacher.apply(pair.teacher_logits),
        pair.labels,
        alpha=0.5,
        temperature=2.0,
        divergence=divergence,
        beta=BETA,
    )
    assert_agree(pair, loss, expected)
