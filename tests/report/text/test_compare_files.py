"""`l2s compare` on files that have one name in both runs: their fingerprints are in the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from l2s.report.text.compare import compare_runs
from l2s.run_dir import Manifest, RunDir
from support.synthetic_run import make_run

FIRST, OTHER = "1" * 64, "2" * 64
GRADER = "python:my_grader.py:grade"


def run_that_read(folder: Path, name: str, inputs: Mapping[str, str], lang: Literal["en", "zh"] = "en") -> Path:
    """An experiment whose evaluation of the teacher read files of these fingerprints."""
    make_run(folder, name=name, sizes={"math": 10}, own_grader=GRADER, lang=lang)
    path = RunDir(folder / name).manifest("evaluate_teacher")
    manifest = Manifest.load(path)
    assert manifest is not None
    replace(manifest, inputs=dict(inputs)).save(path)
    return folder / name


def test_a_grader_that_changed_between_two_runs_is_named_with_both_contents(tmp_path: Path) -> None:
    first = run_that_read(tmp_path, "first", {"my_grader.py": FIRST, "eval.jsonl": FIRST})
    second = run_that_read(tmp_path, "second", {"my_grader.py": OTHER, "eval.jsonl": FIRST})
    settings = compare_runs(first, second).split("## Scores side by side")[0]
    assert r"| content of my\_grader.py | sha256 11111111 | sha256 22222222 |" in settings
    assert r"The grader my\_grader.py changed between the two runs" in settings
    assert "eval.jsonl" not in settings
    assert "changed" not in compare_runs(first, first)


def test_a_changed_data_file_or_local_model_is_a_row_of_the_settings(tmp_path: Path) -> None:
    first = run_that_read(tmp_path, "first", {"teacher_model": FIRST, "/data/eval.jsonl": FIRST})
    second = run_that_read(tmp_path, "second", {"teacher_model": OTHER, "/data/eval.jsonl": OTHER})
    settings = compare_runs(first, second).split("## Scores side by side")[0]
    assert r"| content of teacher\_model | sha256 11111111 | sha256 22222222 |" in settings
    assert "content of /data/eval.jsonl" in settings
    assert "The grader" not in settings


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"data/eval_dataset.jsonl": FIRST}, {"data/eval_dataset.jsonl": OTHER}),  # made by the run
        ({"teacher_model": "hub:a/b"}, {"teacher_model": "hub:a/c"}),  # the setting itself differs
        ({"my_grader.py": FIRST}, {}),  # a run of an early version
    ],
)
def test_what_says_nothing_of_a_changed_file_is_no_row(
    tmp_path: Path, left: dict[str, str], right: dict[str, str]
) -> None:
    first, second = run_that_read(tmp_path, "first", left), run_that_read(tmp_path, "second", right)
    for run in (first, second):
        (run / "data").mkdir(exist_ok=True)
        (run / "data" / "eval_dataset.jsonl").touch()
    assert "content of" not in compare_runs(first, second)


@pytest.mark.parametrize(("lang", "said"), [("en", "may come from them"), ("zh", "可能来自它们")])
def test_versions_and_machines_that_differ_are_named(tmp_path: Path, lang: Literal["en", "zh"], said: str) -> None:
    """A later version grades other answers as right, and an hour on two threads is not an hour on one."""
    first, second = (run_that_read(tmp_path, name, {}, lang) for name in ("first", "second"))
    path = RunDir(second).manifest("evaluate_teacher")
    found = Manifest.load(path)
    assert found is not None
    machine = found.machine | {"usable_threads": 1}
    replace(found, versions=found.versions | {"torch": "2.14.0"}, machine=machine).save(path)
    settings = compare_runs(first, second).split("## ")[1]
    assert "torch" in settings
    assert "| 2.13.0 | 2.13.0, 2.14.0 |" in settings
    assert settings.count("Acme 9000") == 3
    assert said in settings
    assert said not in compare_runs(first, first)


def test_the_change_is_told_in_chinese(tmp_path: Path) -> None:
    first = run_that_read(tmp_path, "first", {"my_grader.py": FIRST}, lang="zh")
    second = run_that_read(tmp_path, "second", {"my_grader.py": OTHER}, lang="zh")
    assert r"评分器 my\_grader.py 有改动" in compare_runs(first, second)


def test_two_folders_with_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    roots = [run_that_read(tmp_path / side, "run", {}) for side in ("left", "right")]
    compared = compare_runs(*roots)
    assert "left/run against" in compared.splitlines()[0]
    assert "right/run" in compared.splitlines()[0]
    assert compare_runs(roots[0], roots[0]).startswith("# run against run")
