"""Imports point one way: scripts -> cli -> pipeline -> stages -> library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "l2s").rglob("*.py")
}
ORCHESTRATION = {
    "l2s.__main__", "l2s.cli", "l2s.runner.experiment", "l2s.runner.check", "l2s.runner.executors",
    "l2s.runner.freshness", "l2s.runner.pipeline", "l2s.runner.placement", "l2s.runner.preflight",
    "l2s.runner.schedule", "l2s.plan.command",
}  # fmt: skip
STAGES = {
    "l2s.tasks.prepare", "l2s.generation.generate", "l2s.signals.score", "l2s.training.sft", "l2s.training.kd",
    "l2s.training.on_policy", "l2s.evaluation.evaluate", "l2s.report.stage",
}  # fmt: skip
LAZY = {"vllm", "ray", "bitsandbytes", "trl", "deepspeed", "lm_eval", "datasets"}


def imported(path: Path, *, top_level: bool = False) -> set[str]:
    """Absolute names imported in a file; with `top_level` only those that run when the module is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if top_level and id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("module", sorted(STAGES & MODULES.keys()))
def test_stages_never_import_each_other(module: str) -> None:
    assert imported(MODULES[module]) & (STAGES - {module}) == set()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - ORCHESTRATION - {"l2s.runner.check"}))
def test_the_library_does_not_know_what_runs_it(module: str) -> None:
    assert imported(MODULES[module]) & ORCHESTRATION == set()


@pytest.mark.parametrize("module", ["l2s.loss.reference", "l2s.evaluation.stats", "l2s.jsonl"])
def test_the_foundations_import_nothing_of_l2s(module: str) -> None:
    assert {name for name in imported(MODULES[module]) if name.split(".")[0] == "l2s"} == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_optional_and_slow_packages_are_imported_where_they_are_used(module: str) -> None:
    assert {name.split(".")[0] for name in imported(MODULES[module], top_level=True)} & LAZY == set()
