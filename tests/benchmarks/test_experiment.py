"""The archived experiments of docs/RESULTS.md: packed whole, and each report can be made from them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from l2s.jsonl import load_jsonl, write_text_atomic
from l2s.report.numbers.files import read_run
from l2s.report.numbers.results import build_results
from l2s.run_dir import RunDir
from l2s.tasks.table import task_of
from support import experiment_archive as archive
from support import experiment_tables as show
from support.synthetic_run import make_run

KEPT = archive.archived()


FIGURES = (
    "evaluation",
    "comparisons",
    "gap_recovered",
    "seeds",
    "fidelity",
    "fidelity_comparisons",
    "models",
    "curves",
)


def rebuilt(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of results.json as archived, and as computed again from the unpacked files."""
    run = RunDir(run_dir)
    before = json.loads(run.results.read_text(encoding="utf-8"))
    after = json.loads(json.dumps(build_results(read_run(run.load_config(), run))))
    return {name: before[name] for name in FIGURES}, {name: after[name] for name in FIGURES}


def test_an_unpacked_experiment_gives_the_same_figures(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 12}, response_words=5)
    write_text_atomic(run_dir.results, json.dumps(build_results(read_run(config, run_dir))))
    run_dir.kd_model.mkdir(parents=True, exist_ok=True)
    (run_dir.kd_model / "model.safetensors").write_bytes(b"weights")
    first = archive.pack(run_dir.root, tmp_path / "kept").read_bytes()
    assert archive.pack(run_dir.root, tmp_path / "kept").read_bytes() == first
    unpacked = archive.unpack(run_dir.root.name, tmp_path / "again", tmp_path / "kept")
    assert not list(unpacked.rglob("*.safetensors"))
    before, after = rebuilt(unpacked)
    assert before == after


def test_what_cannot_be_packed_or_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"results\.json"):
        archive.pack(tmp_path / "empty", tmp_path / "kept")
    with pytest.raises(SystemExit, match="no such archive"):
        archive.unpack("nothing", tmp_path, tmp_path / "kept")


@pytest.mark.parametrize("name", KEPT)
def test_the_figures_of_an_archived_experiment_can_be_computed_again(name: str, tmp_path: Path) -> None:
    before, after = rebuilt(archive.unpack(name, tmp_path))
    assert before == after


@pytest.mark.parametrize("name", KEPT)
def test_archived_answers_can_be_graded_again(name: str, tmp_path: Path) -> None:
    run = RunDir(archive.unpack(name, tmp_path))
    config = run.load_config()
    for path in (run.evaluation / "predictions").glob("*.jsonl"):
        for row in load_jsonl(path):
            grade = task_of(row["domain"]).grade(row, row["response"], row["finish_reason"], config)  # type: ignore[arg-type]
            assert grade is not None
            assert (grade.score, grade.status) == (row["score"], row["status"]), row["id"]


def test_the_documents_show_what_the_archives_hold() -> None:
    if "final" not in KEPT:
        pytest.skip("no final experiment is archived")
    experiments = {name: show.Kept.load(name) for name in KEPT}
    lines = [line for table in show.results_page(experiments).values() for line in table]
    results = Path("docs/RESULTS.md").read_text(encoding="utf-8")
    assert [line for line in lines if line not in results] == []
    for readme in ("README.md", "README.zh-CN.md"):
        text = Path(readme).read_text(encoding="utf-8")
        scores = [line.split("|")[2].strip() for line in show.models_table(experiments["final"])[2:]]
        assert [score for score in scores if score not in text] == [], readme
