"""Import paths and commands that others rely on."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

from l2s.loss.reference import DistillationLoss

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("l2s.jsonl.load_jsonl", ["path"]),
        ("src.utils.common.load_jsonl", ["path"]),
        (
            "l2s.loss.reference.distillation_loss",
            ["student_logits", "teacher_logits", "labels", "alpha", "temperature", "divergence"],
        ),
        (
            "l2s.loss.fused_head.fused_distillation_loss",
            ["student_hidden", "student_weight", "labels", "teacher_hidden", "teacher_weight", "alpha", "temperature"],
        ),
        ("l2s.tasks.math.grade", ["response", "reference"]),
        ("l2s.tasks.code.grade", ["problem", "response", "timeout_s"]),
        ("l2s.tasks.aiops.grade", ["item", "response"]),
        ("l2s.evaluation.stats.wilson_interval", ["successes", "n"]),
        ("l2s.evaluation.stats.paired_comparison", ["a", "b", "clusters"]),
        ("l2s.evaluation.stats.holm", ["p_values"]),
        ("l2s.evaluation.stats.minimum_detectable_difference", ["n"]),
    ],
)
def test_a_stable_name_takes_its_parameters(path: str, parameters: list[str]) -> None:
    module, name = path.rsplit(".", 1)
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    assert [parameter for parameter in parameters if parameter not in signature.parameters] == []


@pytest.mark.parametrize(
    ("path", "positional", "keyword_only"),
    [
        (
            "l2s.loss.reference.distillation_loss",
            ["student_logits", "teacher_logits", "labels"],
            {"alpha", "temperature", "divergence"},
        ),
        (
            "l2s.loss.fused_head.fused_distillation_loss",
            ["student_hidden", "student_weight", "labels"],
            {"teacher_hidden", "teacher_weight", "alpha", "temperature", "divergence"},
        ),
        ("l2s.tasks.code.grade", ["problem", "response"], {"timeout_s"}),
        ("l2s.evaluation.stats.paired_comparison", ["a", "b"], {"clusters"}),
    ],
)
def test_a_stable_name_takes_them_in_its_way(path: str, positional: list[str], keyword_only: set[str]) -> None:
    module, name = path.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert keyword_only <= {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert all(p.default == "forward_kl" for p in parameters if p.name == "divergence")
    assert all(p.default is None for p in parameters if p.name == "clusters")


def test_a_loss_names_its_sums() -> None:
    assert DistillationLoss._fields == ("loss_sum", "ce_sum", "divergence_sum", "num_tokens")


def test_the_console_script_and_the_make_targets_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"l2s": "l2s.__main__:main"}
    makefile = (ROOT / "Makefile").read_text()
    assert [name for name in ("setup", "demo", "test", "check", "bench") if f"\n{name}:" not in makefile] == []
