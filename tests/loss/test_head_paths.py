"""Each way to compute the fused head: kernel, plain, compiled, in every precision; and the inputs that it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._dynamo.exc import TorchDynamoException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from l2s.loss import chunk, kernel
from l2s.loss.fused_head import HiddenTargets, LogitTransform, fused_distillation_loss
from l2s.loss.logit_transform import HeadTransforms
from l2s.loss.objective import Objective
from l2s.loss.reference import DIVERGENCES, distillation_loss
from support.head_pair import BETA, ROWS, VOCABULARY, Pair


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

    The gradient of the total variation jumps where p = q, so rounded logits can have a different one; see the next
    test.
    """
    if not with_kernel:
        monkeypatch.setattr(chunk, "load_kernel", lambda: None)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    low, exact = Pair(dtype), Pair()
    alpha = 1.0 if teacher == "none" else 0.5
    settings: dict[str, Any] = {"alpha": alpha, "temperature": temperature, "divergence": divergence}
    losses = []
    for pair in (low, exact):
        if teacher in ("topk", "tail class"):
            settings["targets"] = exact.topk(6, temperature, with_tail=teacher == "topk")
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


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "cc 'unclosed", "/", "''"])
def test_without_a_compiler_the_plain_path_serves_and_says_so(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.warns(UserWarning, match=re.escape(f"`{compiler}` (CC) failed")):
        assert kernel.load_kernel.__wrapped__() is None


def test_a_blank_variable_names_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", " ")
    asked = []

    def run(command: list[str], **options: Any) -> None:
        asked.append(command[0])
        raise OSError("not now")

    monkeypatch.setattr("subprocess.run", run)
    with pytest.warns(UserWarning, match="not now"):
        assert kernel.load_kernel.__wrapped__() is None
    assert asked == ["cc"]


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("taught", [False, True])
def test_the_kernel_agrees_with_the_plain_path_on_rows_longer_than_a_tile(
    taught: bool, temperature: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = kernel.load_kernel()
    if library is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)  # which share the rows, also 8 threads 5 rows
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 9001, generator=generator).mul(4).bfloat16().unbind()
    labels = torch.tensor([0, 9000, 4096, 17, 5])
    objective = Objective(0.5, temperature)
    wide = student.double(), teacher.double() if taught else None
    exact, ce, divergence = chunk.block_loss(*wide, labels, objective, HeadTransforms())
    sums = kernel.kernel_chunk_loss(
        library, student, teacher if taught else None, labels, alpha=0.5, temperature=temperature
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
        pair.fused(targets=HiddenTargets(pair.teacher_hidden[1:], pair.teacher_weight))
    with pytest.raises(ValueError, match=r"teacher_weight .* does not fit"):
        pair.fused(targets=HiddenTargets(pair.teacher_hidden, pair.teacher_weight[:, 1:]))
    halves: dict[str, Any] = {"teacher_hidden": pair.teacher_hidden, "teacher_weight": pair.teacher_weight}
    for too_much_or_little in ({"targets": HiddenTargets(*halves.values())}, {"teacher_weight": None}):
        with pytest.raises(ValueError, match="together, or targets, not both"):
            fused_distillation_loss(hidden, weight, labels, **(halves | too_much_or_little), **settings)
    with pytest.raises(ValueError, match="teacher vocabulary 40, its tail has 37"):
        pair.fused(targets=replace(pair.topk(4, 2.0, with_tail=True), vocabulary=40))
    with pytest.raises(ValueError, match="outside the vocabulary of 3"):
        pair.fused(targets=HiddenTargets(pair.teacher_hidden, pair.teacher_weight[:3]))
    with pytest.raises(ValueError, match="teacher id 37: outside the vocabulary of 37"):
        pair.fused(targets=replace(pair.topk(4, 2.0, with_tail=True), ids=torch.full((ROWS, 4), VOCABULARY)))
    with pytest.raises(ValueError, match="the teacher counts 37 ids, the student's head only 36"):
        fused_distillation_loss(hidden, weight[1:], labels, targets=pair.topk(4, 2.0, with_tail=True), **settings)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_body_that_cuda_compiles_can_be_traced_and_agrees(divergence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    student, teacher = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).unbind()
    objective, transforms = Objective(0.5, 2.0, divergence, BETA), HeadTransforms(LogitTransform(cap=3.0))
    arguments = student, teacher, torch.tensor([1, 2, 3]), objective, transforms
    compiled = chunk.compiled_block_loss.__wrapped__()
    torch.testing.assert_close(compiled(*arguments), chunk.block_loss(*arguments))


def test_a_compiler_that_fails_is_named_and_the_uncompiled_body_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise TorchDynamoException("no Triton here")

    monkeypatch.setattr(torch, "compile", lambda body: refuse)
    arguments = torch.randn(3, 50), None, torch.tensor([1, 2, 3]), Objective(1.0), HeadTransforms()
    compiled = chunk.compiled_block_loss.__wrapped__()
    with pytest.warns(UserWarning, match="no Triton here"):
        first = compiled(*arguments)
    torch.testing.assert_close(first, chunk.block_loss(*arguments))
    torch.testing.assert_close(compiled(*arguments), first)
