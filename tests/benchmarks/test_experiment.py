"""The archived experiments of docs/RESULTS.md: packed whole, and each report can be made from them again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiment.run import ANSWERS, STEPS, Experiment
from benchmarks.experiment.scale import FULL, SHORT, Scale
from l2s.config import ExperimentConfig, resolve_config
from l2s.durable import write_text_atomic
from l2s.jsonl import load_jsonl
from l2s.models.tiny import save_tiny_model
from l2s.report.numbers.files import read_run
from l2s.report.numbers.results import build_results
from l2s.run_dir import RunDir
from l2s.tasks.table import task_of
from support import experiment_archive as archive
from support import experiment_page as show
from support.experiment_kept import Kept
from support.experiment_tables import models_table
from support.synthetic_run import make_run

KEPT = archive.archived()
SCORES = {  # of SFT and KD in the runs that choose; other runs have 0.5
    "rate-0.0001": (0.3, 0.4),
    "rate-5e-05": (0.4, 0.4),
    "temperature-2": (0.0, 0.6),
    "temperature-3": (0.0, 0.5),
    "alpha-0.5": (0.0, 0.6),
}


class Rehearsal(Experiment):
    """An experiment whose runs are noted, and end with SCORES."""

    def __init__(self, work: Path, scale: Scale) -> None:
        super().__init__(work, scale)
        self.runs: list[tuple[str, ExperimentConfig]] = []

    def l2s(self, name: str, settings: Mapping[str, Any]) -> None:
        """Write results.json alone, and the expert."""
        self.runs.append((name, resolve_config({**self.scale.settings, **settings})))
        (self.work / name).mkdir(exist_ok=True)
        if name == "expert":
            save_tiny_model(self.work / name / "final_model", seed=1, hidden_size=64, vocab_size=304, tied=True)
        scores = dict(zip(("student_sft", "student_kd"), SCORES.get(name, (0.5, 0.5)), strict=True))
        found = {model: {"domain_results": {"own": {"main_metric": score}}} for model, score in scores.items()}
        write_text_atomic(self.work / name / "results.json", json.dumps({"evaluation": found}))


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


@pytest.mark.parametrize("scale", [FULL, SHORT], ids=["full", "short"])
def test_every_step_asks_for_what_the_product_accepts_with_what_the_steps_before_chose(
    tmp_path: Path, scale: Scale
) -> None:
    experiment = Rehearsal(tmp_path, scale)
    for step in STEPS:
        getattr(experiment, f"run_{step}")()
    runs = dict(experiment.runs)
    assert {step: [*runs][place] for step, place in (("expert", 0), ("rate", 1))} == {
        "expert": "expert", "rate": "rate-0.0001",
    }  # fmt: skip
    final = runs["final"]
    assert (final.kd_lr, final.temperature, final.alpha) == (1e-4, 2.0, 0.0)  # ties go to the first
    assert final.sft_lr == (5e-5 if scale is FULL else 1e-4)
    assert final.seeds == scale.seeds[-1]
    for start, seeds in (("base", scale.seeds[-1]), ("sft", scale.seeds[0])):
        opd = runs[f"opd-from-{start}"]
        assert (opd.arms, opd.kd_init, opd.opd_steps) == ("sft,opd", start, scale.opd["opd_steps"])
        assert opd.seeds == seeds
    one, several = (runs[f"answers-{number}"] for number in ANSWERS)
    assert one.model_copy(update={"answers_per_item": several.answers_per_item}) == several
    for name, config in runs.items():
        if name not in ("expert", "final", "opd-from-base"):
            assert (tmp_path / name).exists()
            assert config.seeds in ("", scale.seeds[0])
    layers = json.loads((tmp_path / "pruned" / "config.json").read_text())["num_hidden_layers"]
    assert layers == (2 if scale is FULL else 1)  # the tiny expert has none of the layers that the full one loses


def test_the_problems_of_the_short_form_share_nothing_either(tmp_path: Path) -> None:
    files = Experiment(tmp_path, SHORT).files
    rows = {name: load_jsonl(path) for name, path in files.items()}
    assert {name: len(found) for name, found in rows.items()} == SHORT.problems
    prompts = [row["prompt"] for found in rows.values() for row in found]
    assert len(set(prompts)) == len(prompts)


def test_what_cannot_be_packed_or_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"results\.json"):
        archive.pack(tmp_path / "empty", tmp_path / "kept")
    with pytest.raises(SystemExit, match="no such archive"):
        archive.unpack("nothing", tmp_path, tmp_path / "kept")


@pytest.mark.parametrize("name", KEPT)
def test_the_figures_of_an_archived_experiment_can_be_computed_again(name: str, tmp_path: Path) -> None:
    before, after = rebuilt(archive.unpack(name, tmp_path))
    assert list(different(before, after)) == []


def different(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Where two results differ; an exponential of numpy differs in its last bit between CPUs."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key in before:
            yield from different(before[key], after[key], f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from different(*pair, f"{where}/{number}")
    elif isinstance(before, float) and isinstance(after, float):
        if not math.isclose(before, after, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{where}: {before!r} and {after!r}"
    elif before != after:
        yield f"{where}: {before!r} and {after!r}"


@pytest.mark.parametrize("name", KEPT)
def test_archived_answers_can_be_graded_again(name: str, tmp_path: Path) -> None:
    run = RunDir(archive.unpack(name, tmp_path))
    config = run.load_config()
    for path in (run.evaluation / "predictions").glob("*.jsonl"):
        for row in load_jsonl(path):
            grade = task_of(row["domain"]).grade(row, row["response"], row["finish_reason"], config)  # type: ignore[arg-type]
            assert grade is not None
            assert (grade.score, grade.status) == (row["score"], row["status"]), row["id"]


@pytest.mark.parametrize("name", KEPT)
def test_an_archive_names_no_folder_of_the_machine_that_made_it(name: str, tmp_path: Path) -> None:
    config = RunDir(archive.unpack(name, tmp_path)).load_config()
    paths = (config.teacher_model, config.student_model, config.output_dir, config.train_file, config.eval_file)
    assert [str(path) for path in paths if Path(str(path)).is_absolute()] == []


def test_the_documents_show_what_the_archives_hold() -> None:
    if "final" not in KEPT:
        pytest.skip("no final experiment is archived")
    experiments = {name: Kept.load(name) for name in KEPT}
    lines = [line for table in show.results_page(experiments).values() for line in table]
    results = Path("docs/RESULTS.md").read_text(encoding="utf-8")
    assert [line for line in lines if line not in results] == []
    for readme in ("README.md", "README.zh-CN.md"):
        text = Path(readme).read_text(encoding="utf-8")
        scores = [line.split("|")[2].strip() for line in models_table(show.headline(experiments))[2:]]
        assert [score for score in scores if score not in text] == [], readme
        references = experiments["qwen_math"]
        for kept in (experiments["qwen_aiops"], *map(references.only, references.domains)):
            table = models_table([(kept, one) for one in kept.predictions])
            scores = [line.split("|")[2].strip() for line in table[2:]]
            assert [score for score in scores if score not in text] == [], readme
