"""A divergence is a function and a line in each of two modules, fused and reference; nothing else knows its name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from l2s.cli import main
from l2s.config import ExperimentConfig, resolve_config
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss import divergences, reference
from l2s.loss.divergences import Terms
from l2s.run_dir import RunDir
from l2s.training import kd
from support.head_pair import Pair, assert_agree

MakeConfig = Callable[..., ExperimentConfig]


def toy_terms(log_p: Tensor, log_q: Tensor, p: Tensor, q: Tensor, beta: float) -> Terms:
    """Pearson's chi-squared: the sum of (p - q)**2 / q."""
    return Terms((p - q) ** 2 / q, 2 * p * (p - q) / q)


def toy_reference(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    return ((2 * log_p - log_q).exp()).sum(-1) - 1


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(divergences.DIVERGENCES, "chi_squared", toy_terms)
    monkeypatch.setitem(reference.DIVERGENCES, "chi_squared", toy_reference)
    return "chi_squared"


def test_a_new_divergence_is_a_value_of_the_setting_and_stands_in_the_help(
    toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resolve_config({"divergence": toy}).divergence == toy
    with pytest.raises(UserError, match=r"divergence='chi': must be one of forward_kl, .*chi_squared"):
        resolve_config({"divergence": "chi"})
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert f"|{toy}" in "".join(capsys.readouterr().out.split())


def test_the_two_halves_of_a_new_divergence_agree(toy: str) -> None:
    pair = Pair()
    assert_agree(pair, pair.fused(divergence=toy), pair.reference(divergence=toy))


@pytest.mark.parametrize("signal", ["online", "topk"])
def test_a_student_trains_with_a_new_divergence(toy: str, signal: str, tiny_config: MakeConfig) -> None:
    config = tiny_config(divergence=toy, teacher_signal=signal, topk=200, temperature=1.0)
    run_dir = RunDir.of(config)
    run_dir.sft.mkdir(parents=True)
    row = {"id": "sum", "messages": [{"role": "user", "content": "1 + 1?"}], "response": "2", "finish_reason": "stop"}
    write_jsonl(run_dir.responses, [row])
    if signal == "topk":
        from l2s.signals import score

        score.run(config, run_dir)
    metrics = kd.run(config, run_dir)
    (step,) = load_jsonl(run_dir.kd / "metrics.jsonl")
    assert metrics["steps"] == 1
    assert step["divergence"] > 0
    assert step["grad_norm"] > 0


def test_reading_the_names_loads_no_torch() -> None:
    program = "import sys, l2s.config, l2s.loss.objective; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_every_divergence_has_both_halves() -> None:
    assert list(divergences.DIVERGENCES) == list(reference.DIVERGENCES)
    assert set(divergences.ON_POLICY_BETA) <= set(divergences.DIVERGENCES)


def test_the_smallest_normal_numbers_are_those_of_the_types() -> None:
    found = {dtype.itemsize: torch.finfo(dtype).tiny for dtype in (torch.float32, torch.float64)}
    assert found == divergences.SMALLEST_NORMAL
