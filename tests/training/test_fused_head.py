"""The fused head against loops in numpy, the reference loss, finite differences, and itself under every split."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from l2s.training import fused_head, head_chunk, head_kernel
from l2s.training.fused_head import HiddenTeacher, LogitTransform, TopkTeacher, fused_distillation_loss
from l2s.training.head_buffers import logits_buffer
from l2s.training.head_teacher import LowRankTail
from l2s.training.losses import DIVERGENCES, IGNORE_INDEX, DistillationLoss, distillation_loss

ROWS, STUDENT_SIZE, TEACHER_SIZE, VOCABULARY = 9, 5, 7, 37
BETA = 0.3
Array = NDArray[np.float64]


class Pair:
    """Hidden states, heads and labels of a small teacher and student; row 2 is not counted."""

    def __init__(self, dtype: torch.dtype = torch.float64, *, teacher_vocabulary: int = VOCABULARY) -> None:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.hidden = draw(ROWS, STUDENT_SIZE).to(dtype).requires_grad_()
        self.weight = draw(VOCABULARY, STUDENT_SIZE).to(dtype).requires_grad_()
        self.teacher_hidden = draw(ROWS, TEACHER_SIZE).to(dtype)
        self.teacher_weight = draw(teacher_vocabulary, TEACHER_SIZE).to(dtype)
        self.labels = torch.randint(VOCABULARY, (ROWS,), generator=generator)
        self.labels[2] = IGNORE_INDEX

    @property
    def teacher_logits(self) -> Tensor:
        return self.teacher_hidden @ self.teacher_weight.T

    def topk(self, k: int, temperature: float, *, with_tail: bool) -> TopkTeacher:
        values, ids = self.teacher_logits.topk(k)
        log_normalizer = (self.teacher_logits / temperature).logsumexp(-1)
        tail = self.tail(ids, temperature) if with_tail else None
        return TopkTeacher(ids, values, log_normalizer, tail)

    def tail(self, ids: Tensor, temperature: float) -> LowRankTail:
        """Two components of the teacher's hidden states, and an offset that gives each tail its true mass."""
        codes_NR, basis_VR = self.teacher_hidden[:, :2], self.teacher_weight[:, :2]
        true, model = self.teacher_logits / temperature, codes_NR @ basis_VR.T / temperature
        log_masses = [x.scatter(1, ids, -1e9).logsumexp(-1, keepdim=True) for x in (true, model)]
        offset_N1 = log_masses[0] - log_masses[1] - true.logsumexp(-1, keepdim=True)
        ones_V1 = torch.ones(VOCABULARY, 1, dtype=torch.float64)
        return LowRankTail(torch.cat([codes_NR, temperature * offset_N1], 1), torch.cat([basis_VR, ones_V1], 1))

    def fused(self, **settings: Any) -> DistillationLoss:
        if "teacher" not in settings:
            settings |= {"teacher_hidden": self.teacher_hidden, "teacher_weight": self.teacher_weight}
        return fused_distillation_loss(
            self.hidden, self.weight, self.labels, **({"alpha": 0.5, "temperature": 2.0, "beta": BETA} | settings)
        )

    def reference(self, **settings: Any) -> DistillationLoss:
        return distillation_loss(
            self.hidden @ self.weight.T,
            self.teacher_logits,
            self.labels,
            **({"alpha": 0.5, "temperature": 2.0, "beta": BETA} | settings),
        )

    def gradients(self, loss: DistillationLoss) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss.loss_sum, (self.hidden, self.weight))


def assert_agree(pair: Pair, one: DistillationLoss, other: DistillationLoss, rel: float = 1e-10) -> None:
    """Loss, both parts, count and both gradients."""
    torch.testing.assert_close(one[:3], other[:3], rtol=rel, atol=rel)
    assert one.num_tokens == other.num_tokens
    for a, b in zip(pair.gradients(one), pair.gradients(other), strict=True):
        assert (a - b).norm() <= rel * b.norm() + 1e-14


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def looped_forward_kl(pair: Pair, alpha: float, temperature: float) -> tuple[float, Array, Array]:
    """Loss and gradients, a token at a time: alpha (p - onehot) + (1 - alpha) T (p_T - q_T) for each logit."""
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
    settings["teacher"] = {
        "hidden": HiddenTeacher(pair.teacher_hidden, pair.teacher_weight),
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
    assert_agree(pair, pair.fused(divergence=divergence, teacher=teacher), pair.fused(divergence=divergence))


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
    assert_agree(pair, pair.fused(teacher=teacher, **settings), expected)


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
    loss = pair.fused(alpha=0.0, divergence=divergence, teacher=teacher, student_transform=student)
    torch.testing.assert_close(loss.divergence_sum, expected)
    for gradient, reference in zip(
        pair.gradients(loss), torch.autograd.grad(4 * expected, (pair.hidden, pair.weight)), strict=True
    ):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_padding_rows_of_the_student_are_no_part_of_the_tail_class(divergence: str) -> None:
    pair = Pair()
    teacher = pair.topk(6, 2.0, with_tail=False)
    expected = pair.fused(divergence=divergence, teacher=teacher)
    expected_gradients = pair.gradients(expected)
    pair.weight = torch.cat([pair.weight.detach(), torch.ones(5, STUDENT_SIZE)]).requires_grad_()
    loss = pair.fused(divergence=divergence, teacher=replace(teacher, vocabulary=VOCABULARY))
    hidden_gradient, weight_gradient = pair.gradients(loss)
    torch.testing.assert_close(loss[:3], expected[:3])
    torch.testing.assert_close(hidden_gradient, expected_gradients[0])
    torch.testing.assert_close(weight_gradient[:VOCABULARY], expected_gradients[1])
    assert torch.equal(weight_gradient[VOCABULARY:], torch.zeros(5, STUDENT_SIZE, dtype=torch.float64))
    counted = pair.fused(divergence=divergence, teacher=teacher)  # whose vocabulary nobody knows: the student's
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
    alone = pair.fused(alpha=1.0, teacher=None)
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
    loss = pair.fused(alpha=0.0, divergence=divergence, teacher=HiddenTeacher(pair.hidden.detach(), rows))
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
        teacher=HiddenTeacher(pair.teacher_hidden, pair.teacher_weight, teacher),
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


@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("teacher", ["none", "hidden", "topk", "tail class"])
@pytest.mark.parametrize(
    ("dtype", "divergence", "with_kernel"),
    [(torch.bfloat16, "forward_kl", True)]
    + [(dtype, divergence, False) for dtype in (torch.bfloat16, torch.float32) for divergence in DIVERGENCES],
)
def test_lower_precision_stays_close_to_fp64(
    dtype: torch.dtype,
    divergence: str,
    with_kernel: bool,
    teacher: str,
    temperature: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Within a hundredth in bf16, 1e-5 in fp32: loss and both gradients.

    The gradient of the total variation jumps where p = q, so rounded logits can have another one: see the next test.
    """
    if not with_kernel:
        monkeypatch.setattr(head_chunk, "load_kernel", lambda: None)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    low, exact = Pair(dtype), Pair()
    alpha = 1.0 if teacher == "none" else 0.5
    settings: dict[str, Any] = {"alpha": alpha, "temperature": temperature, "divergence": divergence}
    losses = []
    for pair in (low, exact):
        if teacher in ("topk", "tail class"):
            settings["teacher"] = exact.topk(6, temperature, with_tail=teacher == "topk")
        losses.append(pair.fused(**settings))
    assert losses[0].loss_sum.dtype == torch.float32
    assert losses[0].loss_sum.item() == pytest.approx(losses[1].loss_sum.item(), rel=tolerance)
    if (dtype, divergence) == (torch.bfloat16, "total_variation") and alpha < 1:
        return
    for rough, fine in zip(low.gradients(losses[0]), exact.gradients(losses[1]), strict=True):
        assert (rough - fine).norm() <= tolerance * fine.norm()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
def test_total_variation_in_bf16_has_the_gradient_of_its_rounded_logits(temperature: float) -> None:
    pair = Pair(torch.bfloat16)
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": temperature, "divergence": "total_variation"}
    logits = (pair.hidden @ pair.weight.T).detach().double().requires_grad_()
    expected = distillation_loss(logits, pair.teacher_logits.double(), pair.labels, **settings)
    (slope,) = torch.autograd.grad(expected.loss_sum, logits)
    loss = pair.fused(**settings)
    assert loss.loss_sum.item() == pytest.approx(expected.loss_sum.item(), rel=1e-3)
    gradients = slope @ pair.weight.double(), slope.T @ pair.hidden.double()
    for rough, fine in zip(pair.gradients(loss), gradients, strict=True):
        assert (rough - fine).norm() <= 1e-2 * fine.norm()


def test_without_a_compiler_the_plain_path_serves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.warns(UserWarning, match="no-such-compiler"):
        assert head_kernel.load_kernel.__wrapped__() is None


@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("taught", [False, True])
def test_the_kernel_agrees_with_the_plain_path_on_rows_longer_than_a_tile(taught: bool, temperature: float) -> None:
    kernel = head_kernel.load_kernel()
    if kernel is None:
        pytest.skip("no C compiler")
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 9001, generator=generator).mul(4).bfloat16().unbind()
    labels = torch.tensor([0, 9000, 4096, 17, 5])
    plain = head_chunk.Objective(0.5, temperature, "forward_kl", BETA, LogitTransform(), LogitTransform())
    exact, ce, divergence = head_chunk.block_loss(student.double(), teacher.double() if taught else None, labels, plain)
    sums = head_kernel.kernel_chunk_loss(
        kernel, student, teacher if taught else None, labels, alpha=0.5, temperature=temperature
    )
    torch.testing.assert_close(sums, (ce.sum().float(), divergence.sum().float()), rtol=1e-6, atol=0)
    torch.testing.assert_close(student, exact.bfloat16(), rtol=2**-7, atol=1e-9)


def test_a_nan_logit_makes_the_loss_nan() -> None:
    pair = Pair(torch.bfloat16)
    with torch.no_grad():
        pair.hidden[0, 0] = float("nan")
    assert pair.fused().loss_sum.isnan()


def test_autocast_multiplies_in_bf16_and_returns_gradients_in_the_type_of_the_parameters() -> None:
    pair = Pair(torch.float32)
    plain = pair.fused()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = pair.fused()
    assert cast.loss_sum.dtype == torch.float32
    assert cast.loss_sum.item() != plain.loss_sum.item()
    for rough, fine in zip(pair.gradients(cast), pair.gradients(plain), strict=True):
        assert rough.dtype == torch.float32
        assert (rough - fine).norm() <= 1e-2 * fine.norm()


def test_no_gradient_is_made_where_none_is_recorded() -> None:
    pair = Pair()
    with torch.no_grad():
        loss = pair.fused()
    assert not loss.loss_sum.requires_grad
    torch.testing.assert_close(loss.loss_sum, pair.fused().loss_sum)


def test_a_sharded_weight_is_refused_because_the_loss_belongs_inside_the_wrapped_forward(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        pair = Pair()
        sharded = distribute_tensor(pair.weight.detach(), init_device_mesh("cpu", (1,)))
        with pytest.raises(ValueError, match="student_weight is sharded"):
            fused_distillation_loss(pair.hidden, sharded, pair.labels, alpha=1.0, temperature=2.0)
    finally:
        dist.destroy_process_group()


def test_inputs_that_do_not_fit_are_refused_by_name() -> None:
    pair = Pair()
    hidden, weight, labels = pair.hidden, pair.weight, pair.labels
    settings: dict[str, Any] = {"alpha": 0.5, "temperature": 2.0}
    with pytest.raises(ValueError, match=r"alpha=0\.5: below 1 a teacher is needed"):
        fused_distillation_loss(hidden, weight, labels, **settings)
    with pytest.raises(ValueError, match=r"student_weight has type torch\.uint8: quantised"):
        fused_distillation_loss(hidden, weight.detach().byte(), labels, alpha=1.0, temperature=2.0)
    with pytest.raises(ValueError, match="the teacher has 8 rows, labels 9"):
        pair.fused(teacher=HiddenTeacher(pair.teacher_hidden[1:], pair.teacher_weight))
    with pytest.raises(ValueError, match=r"teacher_weight .* does not fit"):
        pair.fused(teacher=HiddenTeacher(pair.teacher_hidden, pair.teacher_weight[:, 1:]))
    halves: dict[str, Any] = {"teacher_hidden": pair.teacher_hidden, "teacher_weight": pair.teacher_weight}
    for too_much_or_little in ({"teacher": HiddenTeacher(*halves.values())}, {"teacher_weight": None}):
        with pytest.raises(ValueError, match="belong together, and stand in place of teacher"):
            fused_distillation_loss(hidden, weight, labels, **(halves | too_much_or_little), **settings)
    with pytest.raises(ValueError, match="teacher vocabulary 40, its tail has 37"):
        pair.fused(teacher=replace(pair.topk(4, 2.0, with_tail=True), vocabulary=40))
    with pytest.raises(ValueError, match="outside the vocabulary of 3"):
        pair.fused(teacher=HiddenTeacher(pair.teacher_hidden, pair.teacher_weight[:3]))
    with pytest.raises(ValueError, match="teacher id 37: outside the vocabulary of 37"):
        pair.fused(teacher=replace(pair.topk(4, 2.0, with_tail=True), ids=torch.full((ROWS, 4), VOCABULARY)))
    with pytest.raises(ValueError, match="the teacher counts 37 ids, the student's head only 36"):
        fused_distillation_loss(hidden, weight[1:], labels, teacher=pair.topk(4, 2.0, with_tail=True), **settings)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_body_that_cuda_compiles_can_be_traced_and_agrees(divergence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    student, teacher = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).unbind()
    objective = head_chunk.Objective(0.5, 2.0, divergence, BETA, LogitTransform(cap=3.0), LogitTransform())
    arguments = student, teacher, torch.tensor([1, 2, 3]), objective
    compiled = head_chunk.compiled_block_loss.__wrapped__()
    torch.testing.assert_close(compiled(*arguments), head_chunk.block_loss(*arguments))


def test_a_compiler_that_fails_is_named_and_the_uncompiled_body_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise TorchDynamoException("no Triton here")

    monkeypatch.setattr(torch, "compile", lambda body: refuse)
    arguments = (
        torch.randn(3, 50),
        None,
        torch.tensor([1, 2, 3]),
        head_chunk.Objective(1.0, 2.0, "forward_kl", BETA, LogitTransform(), LogitTransform()),
    )
    compiled = head_chunk.compiled_block_loss.__wrapped__()
    with pytest.warns(UserWarning, match="no Triton here"):
        first = compiled(*arguments)
    torch.testing.assert_close(first, head_chunk.block_loss(*arguments))
    torch.testing.assert_close(compiled(*arguments), first)
