"""Imports point one way: cli -> runner -> stages -> library, lazy imports included, and there are no circles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from l2s.runner.pipeline import STAGES

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "l2s").rglob("*.py")
}
STAGE_MODULES = {stage.function.split(":")[0] for stage in STAGES.values()}
LAZY = {"vllm", "ray", "bitsandbytes", "trl", "deepspeed", "lm_eval", "datasets"}
# Rooms and files of l2s/ from the bottom up. A line may import from the lines above it. Rooms of one line may
# import modules of each other.
LAYERS = """
    __init__ arms counted durable errors interrupts jsonl links metrics on_disk sealed terminal visible warning
    disk_use hub loss presets sandbox secret_variables
    config
    devices run_dir
    tasks
    chat
    sequences models
    signals generation
    training evaluation
    report
    runner plan
    cli __main__
"""
LAYER_OF = {room: number for number, line in enumerate(LAYERS.strip().splitlines()) for room in line.split()}


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
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inside if inside <= MODULES.keys() else inside | {node.module}
    return names


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_modules(module: str) -> set[str]:
    """Modules of l2s that a module imports, at its top or in a function; the packages it lies in do not count."""
    return {name for name in imported(MODULES[module]) & MODULES.keys() if not f"{module}.".startswith(f"{name}.")}


def circle_from(module: str, graph: dict[str, set[str]]) -> list[str]:
    """A chain of imports from `module` back to it, or nothing."""
    ways = [[module]]
    seen = set()
    while ways:
        way = ways.pop()
        for name in graph[way[-1]]:
            if name == module:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: imported_modules(module) for module in MODULES}
    assert {module: way for module in MODULES if (way := circle_from(module, graph))} == {}


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set()}
    assert circle_from("a", graph) == ["a", "b", "c", "a"]
    assert circle_from("d", graph) == []


def test_every_room_has_its_layer() -> None:
    assert {room(module) for module in MODULES} == LAYER_OF.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_points_up(module: str) -> None:
    up = {name for name in imported_modules(module) if LAYER_OF[room(name)] > LAYER_OF[room(module)]}
    assert up == set()


@pytest.mark.parametrize("module", sorted(STAGE_MODULES))
def test_stages_never_import_each_other(module: str) -> None:
    assert imported(MODULES[module]) & (STAGE_MODULES - {module}) == set()


@pytest.mark.parametrize("foundation", ["l2s.loss.reference", "l2s.evaluation.stats", "l2s.durable"])
def test_the_foundations_import_nothing_of_l2s(foundation: str) -> None:
    """A package may import its own modules."""
    parts = [module for module in MODULES if f"{module}.".startswith(f"{foundation}.")]
    names = {name for module in parts for name in imported(MODULES[module]) if name.split(".")[0] == "l2s"}
    assert {name for name in names if not f"{name}.".startswith(f"{foundation}.")} == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_optional_and_slow_packages_are_imported_where_they_are_used(module: str) -> None:
    assert {name.split(".")[0] for name in imported(MODULES[module], top_level=True)} & LAZY == set()


NEITHER_IMPORTS = [  # the first does not import the second
    ("l2s", "tests"), ("l2s", "benchmarks"), ("l2s", "support"), ("tests", "benchmarks"), ("tests", "tests"),
    ("benchmarks", "tests"),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "other"), NEITHER_IMPORTS)
def test_neither_imports_the_other(folder: str, other: str) -> None:
    own = ROOT / folder / other  # tests/benchmarks imports what it tests
    files = [path for path in (ROOT / folder).rglob("*.py") if not path.is_relative_to(own)]
    assert [path.name for path in files if other in {name.split(".")[0] for name in imported(path)}] == []
