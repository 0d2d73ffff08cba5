"""A domain is one module and one line: the rest of l2s knows a domain only through its Task."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.plan.command import assumptions
from l2s.plan.hardware import GIB, Fleet, Hardware
from l2s.plan.layout import lay_out
from l2s.plan.model_size import lora_parameters, size_of
from l2s.plan.prediction import Plan
from l2s.plan.situation import Situation
from l2s.report.text.console import print_summary
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.runner.preflight import check_settings
from l2s.runner.selection import select_stages, settle
from l2s.tasks.table import TASKS, in_order, tasks_of
from support.reports import written_reports
from support.toy_domain import TASK, ToyConfig

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["teacher", "student_base", "student_sft", "student_kd"]


@pytest.fixture(scope="module")
def experiment(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyConfig, RunDir]:
    """A whole experiment on the toy domain only, in this process."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "toy", TASK)
        config = ToyConfig(
            experiment_name="toy", domains="toy", output_dir=folder / "outputs", processed_dir=folder / "processed",
            teacher_model=str(tiny_model_dir / "teacher"), student_model=str(tiny_model_dir / "student"),
            dtype="float32", device="cpu", tuning="full", gradient_checkpointing=False, run_all=True,
            max_new_tokens=6, max_length=256,
        )  # fmt: skip
        config = settle(config)  # type: ignore[assignment]
        stages, run_dir = select_stages(config), RunDir.of(config)
        check_settings(config, stages)
        run_dir.create()
        run_dir.save_config(config)
        for stage in stages:
            run_stage(stage, config, run_dir, "run")
    return config, run_dir


@pytest.fixture
def toy_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "toy", TASK)


def test_results_hold_the_new_domain_alone(experiment: tuple[ToyConfig, RunDir]) -> None:
    results = json.loads(experiment[1].results.read_text())
    assert list(results["evaluation"]) == MODELS
    for model in MODELS:
        (found,) = results["evaluation"][model]["domain_results"].values()
        assert (found["metric"], found["n"], found["also"]) == ("capitals named", 2, {"on_the_map": 1.0})
        assert sum(found["statuses"].values()) == 2
    assert {contrast["domain"] for contrast in results["comparisons"]} == {"toy"}
    assert all(contrast["units"] == 1 for contrast in results["comparisons"])  # one continent, one cluster
    assert list(results["fidelity"]["student_kd"]["domains"]) == ["toy"]
    assert results["controls"] == {"toy": {"gold": 1.0, "silence": 0.5}}
    assert results["sources"] == {"toy": ["atlas"]}
    assert results["environment"]["sandbox"] is None


@pytest.mark.usefixtures("toy_table")
@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("capitals", "capitals named, n=2", "on the map", "silence", "come from an atlas", "The atlas is old")),
        ("zh", ("首都", "首都命中率，n=2", "在地图上", "沉默", "首都取自地图册", "地图册很旧")),
    ],
)
def test_every_report_speaks_of_it_in_its_own_words(
    experiment: tuple[ToyConfig, RunDir], lang: Any, words: tuple[str, ...]
) -> None:
    config, run_dir = experiment
    markdown, html = written_reports(config, run_dir, lang)
    assert [word for word in words if word not in markdown] == []
    assert [word for word in words if word not in html] == []
    status = "答非所问" if lang == "zh" else "elsewhere"
    assert status in markdown
    assert f'"status_elsewhere": "{status}"' in html
    assert not re.search(r"\b(math|code|AIOps)\b|数学|代码生成", markdown.split("## ")[2])
    assert f'<option value="toy">{words[0]}</option>' in html
    assert {item["domain"] for item in packed_items(html)} == {"toy"}
    assert (run_dir.plots / "scores_toy.svg").exists()

    console = Console(record=True, width=160)
    print_summary(run_dir, console)
    printed = console.export_text()
    assert [word for word in words[:3] if word not in printed] == []

    rows = list(csv.DictReader((run_dir.evaluation / "model_comparison.csv").open()))
    assert [(row["model"], row["domain"], row["on_the_map"]) for row in rows] == [(m, "toy", "1.0") for m in MODELS]


@pytest.mark.usefixtures("toy_table")
def test_a_plan_takes_its_sizes_and_lengths(experiment: tuple[ToyConfig, RunDir]) -> None:
    config = experiment[0]
    hardware = Hardware("gpu", True, 80 * GIB, 600e12, 2.8e12, 2.8e12, 1.2e-3, "made up")
    fleet = Fleet(hardware, Devices("gpu", ("0",), hardware.memory), 1)
    teacher, student = (size_of(name, config) for name in (config.teacher_model, config.student_model))
    situation = Situation(config, hardware, teacher, student, lora_parameters(config.student_model, config))
    assert [(text.source, text.number) for text in situation.training_texts] == [("atlas", 4)]
    assert [(text.source, text.number) for text in situation.evaluation_texts] == [("atlas", 2)]
    assert "atlas 20 + 5" in assumptions(Plan(situation, fleet, lay_out([], situation, fleet)))[0]


@pytest.mark.usefixtures("toy_table")
def test_the_size_fields_of_the_new_domain_are_named_where_there_is_nothing_to_do(
    experiment: tuple[ToyConfig, RunDir],
) -> None:
    none = experiment[0].model_copy(update={"toy_train_size": 0})
    with pytest.raises(UserError, match=r"^toy_train_size=0: nothing to train on"):
        check_settings(none, [STAGES["generate"]])


@pytest.mark.parametrize(
    ("domains", "expected"),
    [("auto", ["math", "code", "aiops"]), ("aiops, math", ["math", "aiops"]), ("code", ["code"])],
)
def test_domains_are_chosen_by_name_and_kept_in_the_order_of_the_table(domains: str, expected: list[str]) -> None:
    assert list(tasks_of(ExperimentConfig(domains=domains))) == expected


@pytest.mark.parametrize("domains", ["maths", "math,", "math,,code", "math;code"])
def test_an_unknown_domain_is_refused_with_those_there_are(domains: str) -> None:
    with pytest.raises(UserError, match=r"domains=.*is not a domain; name some of math, code, aiops"):
        tasks_of(ExperimentConfig(domains=domains))


def test_domains_stand_in_the_order_of_the_table() -> None:
    assert in_order(["zebra", "aiops", "math", "aiops", "apple"]) == ["math", "aiops", "zebra", "apple"]


def test_no_module_outside_of_tasks_knows_a_domain_by_name() -> None:
    """Configuration fields and presets are settings; everything else asks the table."""
    modules = [*(ROOT / "l2s").rglob("*.py"), *(ROOT / "l2s").rglob("*.jinja")]
    named = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in modules
        if "tasks" not in path.parts and path.name not in ("settings.py", "presets.py")
        for found in re.findall(rf"""["']({"|".join(TASKS)})["']|\b(?:{"|".join(TASKS)})_\w+_size""", path.read_text())
    ]
    assert named == []


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_what_a_task_names_is_there(task: Any) -> None:
    fields = [*task.reads(), *task.grading, *task.trial, *(task.overlap_setting or ())[:1]]
    assert [name for name in fields if name not in ExperimentConfig.model_fields] == []
    assert {*task.reads(), "seed", "domains"} <= set(STAGES["prepare"].reads)
    assert set(task.grading) <= set(STAGES["generate"].reads) & set(STAGES["evaluate_student_kd"].reads)
    assert [name for names in (*task.names.values(), task.title) for name in names if not name] == []


def packed_items(html: str) -> Any:
    """The items of the page's browser."""
    found = re.search(r'id="packed-items"[^>]*>([^<]*)<', html)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found.group(1))))
