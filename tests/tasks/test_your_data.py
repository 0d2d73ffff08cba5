"""The user's own data through a whole experiment: the example of docs/YOUR_DATA.md, graded and not graded."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from l2s.cli import main
from l2s.config import ExperimentConfig, resolve_config
from l2s.errors import UserError
from l2s.jsonl import load_jsonl
from l2s.report import stage as report_stage
from l2s.report.text.compare import compare_runs
from l2s.report.text.console import print_summary
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import run_stage
from l2s.runner.freshness import inputs_of
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_machine, check_settings
from l2s.runner.selection import select_stages, settle
from l2s.tasks.contamination import overlap
from l2s.tasks.own import graders
from l2s.tasks.table import TASKS, tasks_of
from support.chromium import CHROMIUM, open_page
from support.reports import write_predictions, written_reports

DOC = (Path(__file__).resolve().parents[2] / "docs" / "YOUR_DATA.md").read_text(encoding="utf-8")
MODELS = ["teacher", "student_base", "student_sft", "student_kd"]


def write_example(folder: Path) -> None:
    """Write the example files of the page."""
    found = re.findall(r"`(\w+\.jsonl)`:\n\n```jsonl\n(.*?)```", DOC, flags=re.DOTALL)
    assert [name for name, _ in found] == ["train.jsonl", "eval.jsonl"]
    for name, text in found:
        (folder / name).write_text(text, encoding="utf-8")


def example_flags() -> dict[str, str]:
    """The flags of the page's command, without --run_all."""
    command = re.search(r"```bash\n(l2s run .*?)```", DOC, flags=re.DOTALL)
    assert command is not None
    words = shlex.split(command[1].replace("\\\n", " "))
    assert words[:3] == ["l2s", "run", "--run_all"]
    return {flag.removeprefix("--"): value for flag, value in zip(words[3::2], words[4::2], strict=True)}


def run_example(folder: Path, models: Path, **fields: Any) -> tuple[ExperimentConfig, RunDir]:
    """The page's command on the tiny pair, with every stage in this process."""
    small = {
        "teacher_model": str(models / "teacher"), "student_model": str(models / "student"), "output_dir": "outputs",
        "processed_dir": "processed", "dtype": "float32", "device": "cpu", "tuning": "full", "max_new_tokens": 6,
        "gradient_checkpointing": False, "max_length": 256, "run_all": True,
    }  # fmt: skip
    config = settle(resolve_config(example_flags() | small | fields))
    stages, run_dir = select_stages(config), RunDir.of(config)
    check_settings(config, stages)
    check_machine(config, stages)
    run_dir.create()
    run_dir.save_config(config)
    for stage in stages:
        run_stage(stage, config, run_dir, "run")
    return config, run_dir


@pytest.fixture(scope="module")
def experiment(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentConfig, RunDir]:
    """The page's example, but not graded; the data folder of the built-in domains does not exist."""
    folder = tmp_path_factory.mktemp("own")
    write_example(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("L2S_DATA", str(folder / "no such folder"))
        config, run_dir = run_example(folder, tiny_model_dir, own_grader="none", output_dir=folder / "outputs")
    return config, run_dir


def test_data_that_nobody_graded_has_fidelity_and_length_but_no_score(
    experiment: tuple[ExperimentConfig, RunDir],
) -> None:
    results = json.loads(experiment[1].results.read_text())
    assert list(results["evaluation"]) == MODELS
    for model in MODELS:
        found = results["evaluation"][model]["domain_results"]
        assert list(found) == ["own", "asia"]
        assert (found["own"]["main_metric"], found["own"]["ci95"], found["own"]["metric"]) == (None, None, "not graded")
        assert found["own"]["statuses"] == {"not_graded": 3}
        assert found["own"]["mean_tokens"] > 0
    assert results["comparisons"] == results["gap_recovered"] == []
    assert list(results["fidelity"]["student_kd"]["domains"]) == ["own", "asia"]
    assert results["stages"]["generate"]["metrics"]["mean_score"] == {}
    assert results["stages"]["generate"]["metrics"]["tries"] == []


def test_every_stage_saw_the_rows_and_the_system_prompt(experiment: tuple[ExperimentConfig, RunDir]) -> None:
    run_dir = experiment[1]
    train, evaluation = load_jsonl(run_dir.train_data), load_jsonl(run_dir.eval_data)
    assert [row["reference"] for row in train] == ["Paris", "Lima", "Nairobi", "Tokyo", "Cairo", "Santiago"]
    assert [row["id"] for row in evaluation] == ["own-eval-00000", "own-eval-00001", "ghana", "own-eval-00003"]
    assert [row["id"] for row in load_jsonl(run_dir.responses)] == [row["id"] for row in train]
    for row in train + evaluation:
        assert row["messages"][0] == {"role": "system", "content": "Answer in one short sentence."}
    for model in MODELS:
        rows = load_jsonl(run_dir.predictions(model))
        assert [(row["id"], row["score"], row["status"]) for row in rows] == [
            (row["id"], None, "not_graded") for row in evaluation
        ]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("own data", "not graded, n=3", "it has no score, only fidelity and length", "No answer was graded")),
        ("zh", ("自有数据", "未评分，n=3", "没有得分，只有接近程度和长度", "没有对任何回答评分")),
    ],
)
def test_every_report_says_that_it_was_not_graded(
    experiment: tuple[ExperimentConfig, RunDir], lang: Any, words: tuple[str, ...]
) -> None:
    config, run_dir = experiment
    markdown, html = written_reports(config, run_dir, lang)
    assert [word for word in words if word not in markdown] == []
    assert [word for word in words if word not in html] == []
    scores = markdown.split("## ")[3]
    row = next(line for line in scores.splitlines() if line.startswith(f"| {words[0]} "))
    assert row.split("|")[2:6] == [" – "] * 4
    assert "0.0%" not in row
    assert not (run_dir.plots / "scores_own.svg").exists()

    console = Console(record=True, width=160)
    print_summary(run_dir, console)
    assert words[1] in console.export_text()

    rows = list(csv.DictReader((run_dir.evaluation / "model_comparison.csv").open()))
    assert {(row["domain"], row["main_metric"], row["ci95_low"]) for row in rows} == {("own", "", ""), ("asia", "", "")}
    assert all(float(row["mean_tokens"]) > 0 and row["mean_kl"] for row in rows)


def test_the_item_browser_holds_the_rows_with_answers_without_a_score(
    experiment: tuple[ExperimentConfig, RunDir],
) -> None:
    html = (experiment[1].evaluation / "report.html").read_text(encoding="utf-8")
    packed = re.search(r'id="packed-items">([^<]*)<', html)
    assert packed is not None
    items = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert [item["id"] for item in items] == ["own-eval-00000", "own-eval-00001", "ghana", "own-eval-00003"]
    assert items[2]["messages"][1]["content"] == "What is the capital of Ghana?"
    assert {answer["score"] for item in items for answer in item["answers"].values()} == {None}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the page is not opened")
def test_the_item_browser_shows_no_score_where_there_is_none(
    experiment: tuple[ExperimentConfig, RunDir], tmp_path: Path
) -> None:
    report_stage.run(*experiment)
    with open_page(tmp_path / "profile") as page:
        page.open(experiment[1].evaluation / "report.html")
        assert page.messages == []
        badges = page.evaluate("[...document.querySelectorAll('.badge')].map((badge) => badge.textContent).join()")
        assert badges == ",".join(["not_graded"] * 4)
        page.evaluate("byId('filter').value = 'filter_all_wrong'; update()")
        assert page.evaluate("document.querySelectorAll('.entry').length") == 0


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", "own data: the grader failed on 2 of 3 answers of Teacher (grader_raised 1, grader_timeout 1)"),
        ("zh", "自有数据：评分器在教师的 3 条回答中有 2 条出错（评分代码出错 1、评分代码超时 1）"),
    ],
)
def test_a_grader_that_failed_is_warned_of_and_its_code_called_the_users_own(
    experiment: tuple[ExperimentConfig, RunDir], tmp_path: Path, lang: Any, words: str
) -> None:
    shutil.copytree(experiment[1].root, tmp_path / "run", symlinks=True)
    run_dir = RunDir(tmp_path / "run")
    rows = load_jsonl(run_dir.predictions("teacher"))
    statuses = ("grader_raised", "correct", "grader_timeout", "partial")
    scores = {"correct": 1.0, "partial": 0.5}
    graded = [
        row | {"status": status, "score": scores.get(status, 0.0)} for row, status in zip(rows, statuses, strict=True)
    ]
    write_predictions(run_dir, "teacher", graded)
    grader = {"own_grader": "python:my_grader.py:grade"}
    config = experiment[0].model_copy(update=grader)
    for path in (run_dir.root / "manifests").glob("*.json"):
        if (manifest := Manifest.load(path)) and "own_grader" in manifest.config:
            replace(manifest, config=manifest.config | grader).save(path)
    markdown, _ = written_reports(config, run_dir, lang)
    results = json.loads(run_dir.results.read_text())
    assert [warning for warning in results["warnings"] if warning.startswith(words)]
    assert results["evaluation"]["teacher"]["domain_results"]["own"]["main_metric"] == pytest.approx(1 / 3)
    assert {"en": "graded by your own code (python:my", "zh": "由您自己的代码评分（python:my"}[lang] in markdown


def test_two_runs_that_were_not_graded_can_be_compared(experiment: tuple[ExperimentConfig, RunDir]) -> None:
    text = compare_runs(experiment[1].root, experiment[1].root)
    assert "| own data | KD | – | – |" in text
    assert "share no evaluation item" in text


def test_the_grader_of_the_page_grades_the_same_answers(
    experiment: tuple[ExperimentConfig, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run_dir = experiment
    asked = load_jsonl(run_dir.eval_data)
    graded = config.model_copy(update={"own_grader": example_flags()["own_grader"]})
    found = [graders.grade(item, f"It is {item['reference']}.", "stop", graded) for item in asked]  # type: ignore[arg-type]
    assert [grade.score for grade in found if grade] == [1.0] * 4


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> Path:
    """A working directory with the files of the page."""
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig(**({"train_file": "train.jsonl", "eval_file": "eval.jsonl"} | fields))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("domains", "expected"),
    [("auto", ["math", "code", "aiops", "own"]), ("own", ["own"]), ("own,math", ["math", "own"])],
)
def test_own_data_stands_beside_the_others_or_instead_of_them(domains: str, expected: list[str]) -> None:
    assert list(tasks_of(own(domains=domains))) == expected
    assert "own" not in tasks_of(ExperimentConfig())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"eval_file": None}, "train_file='train.jsonl': --eval_file is missing"),
        ({"train_file": None}, "eval_file='eval.jsonl': --train_file is missing"),
        ({"train_file": None, "eval_file": None, "domains": "own"}, "domains='own': --train_file is missing"),
        ({"domains": "math"}, "train_file='train.jsonl': is for data of your own, which this run does not use"),
        ({"train_file": None, "eval_file": None, "own_grader": "exact"}, "own_grader='exact': is for data of your own"),
        ({"train_file": None, "eval_file": None, "system_prompt": "Hi"}, "system_prompt='Hi': is for data of your own"),
        ({"own_grader": "rouge"}, "own_grader='rouge': must be one of exact"),
        ({"own_grader": "python:none.py:f"}, "own_grader='python:none.py:f': there is no file 'none.py'"),
        ({"own_grader": "number"}, "train_file='train.jsonl', line 1: reference='Paris'"),
        ({"keep_correct": True}, "keep_correct=True: own_grader='none' grades nothing"),
        ({"train_file": "nowhere.jsonl"}, "train_file='nowhere.jsonl': there is no such file"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_settings(own(**fields), [STAGES["prepare"]])
    assert words in str(caught.value)


def test_a_bad_row_ends_the_command_with_status_2_and_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tiny_model_dir: Path
) -> None:
    (folder / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt": 1}\n')
    models = ["--teacher_model", str(tiny_model_dir / "teacher"), "--student_model", str(tiny_model_dir / "student")]
    argv = ["run", "--run_all", "--domains", "own", "--train_file", "train.jsonl", "--eval_file", "eval.jsonl", *models]
    assert main(argv) == 2
    assert capsys.readouterr().err == (
        "l2s run: train_file='train.jsonl', line 2: prompt=1: expected text, found int; a list of turns is `messages`\n"
    )
    assert not (folder / "outputs").exists()


def test_the_error_of_the_page_is_the_one_that_is_printed(folder: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"prompt": "a", "reference": "b"}, {"messages": turns, "reference": "b"}]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError) as caught:
        check_settings(own(), [])
    assert f"l2s run: {caught.value}\n" in DOC


@pytest.mark.usefixtures("folder")
def test_a_changed_file_or_grader_is_seen_by_the_stages_that_read_it(folder: Path) -> None:
    (folder / "g.py").write_text("def grade(response, reference): return 1\n")
    config = own(domains="own", own_grader="python:g.py:grade")
    run_dir = RunDir(folder / "outputs" / "x")
    assert set(inputs_of(STAGES["prepare"], config, run_dir)) == {"train.jsonl", "eval.jsonl"}
    for name in ("generate", "evaluate_teacher", "evaluate_student_kd"):
        assert "g.py" in inputs_of(STAGES[name], config, run_dir)
    assert set(TASKS["own"].grading) <= set(STAGES["generate"].reads)


@pytest.mark.usefixtures("folder")
def test_rows_of_both_files_are_reported_as_contamination(folder: Path) -> None:
    (folder / "eval.jsonl").write_text((folder / "train.jsonl").read_text().upper().replace("PROMPT", "prompt"))
    config = own(domains="own")
    train, evaluation = TASKS["own"].train_items(config), TASKS["own"].eval_items(config)
    assert len(overlap(train, evaluation)["own"].duplicates) == 6
    renamed: list[Any] = [{**item, "domain": "geography"} for item in evaluation]
    assert len(overlap(train, renamed)["geography"].duplicates) == 6


def test_the_graders_of_the_page_are_those_there_are() -> None:
    table = DOC.split("## Graders")[1].split("## A grader in Python")[0]
    named = re.findall(r"^\| `([\w]+)", table, flags=re.MULTILINE)
    assert [name for name in named if name != "python"] == list(graders.GRADERS)
    for status in TASKS["own"].faults:
        assert f"| `{status}` |" in DOC


def test_the_grader_of_the_page_runs(folder: Path) -> None:
    code = re.search(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
    assert code is not None
    (folder / "my_grader.py").write_text(code[1])
    rows = [
        json.loads(line) | {"keywords": ["red", "blue"]} for line in (folder / "eval.jsonl").read_text().splitlines()
    ]
    (folder / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = own(own_grader="python:my_grader.py:grade")
    check_settings(config, [])
    item = TASKS["own"].eval_items(config)[0]
    found = TASKS["own"].grade(item, "red", "stop", config)
    assert found is not None
    assert (found.score, found.status) == (0.5, "partial")
