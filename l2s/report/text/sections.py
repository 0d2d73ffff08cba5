"""The sections of the report in order, with their notes and tables; the same for Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field

from l2s.report.numbers.results import has_scores, shown_domains
from l2s.report.numbers.schema import Results
from l2s.report.text.strings import Text
from l2s.report.text.tables.answers import (
    SHOWN_NEVER_RIGHT,
    answer_table,
    answers_title,
    curation_table,
    never_right_table,
)
from l2s.report.text.tables.contamination import SHOWN_LEAKS, contamination_table, leak_table
from l2s.report.text.tables.contrasts import contrast_table, gap_table
from l2s.report.text.tables.costs import (
    config_table,
    disk_table,
    environment_table,
    model_table,
    prediction_table,
    stage_table,
)
from l2s.report.text.tables.fidelity import domain_fidelity_table, fidelity_contrast_table, fidelity_table
from l2s.report.text.tables.harness import harness_table
from l2s.report.text.tables.opd import opd_table
from l2s.report.text.tables.scores import control_table, outcome_table, score_table
from l2s.report.text.tables.seeds import seed_table
from l2s.report.text.tables.table import Table
from l2s.report.text.tables.training import training_table
from l2s.tasks.table import TASKS, task_of


@dataclass(frozen=True)
class Block:
    """A table and its explanation. `empty` replaces a table without rows; a folded block opens on demand."""

    table: Table
    title: str = ""
    note: str = ""
    empty: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One section. `plots` names the figures above its blocks; a folded section opens on demand."""

    key: str
    title: str
    blocks: list[Block]
    plots: list[str] = field(default_factory=list)
    folded: bool = False


def build_sections(results: Results, text: Text, plots: list[str]) -> list[Section]:
    """All sections; `plots` are the names of the figures that could be drawn."""

    def of(prefix: str) -> list[str]:
        return [name for name in plots if name.startswith(prefix)]

    return [
        Section("scores", text("scores"), _score_blocks(results, text), of("scores_")),
        Section("contrasts", text("contrasts"), _contrast_blocks(results, text), of("contrasts_")),
        Section("fidelity", text("fidelity"), _fidelity_blocks(results, text), of("fidelity_")),
        *([Section("lm_eval", text("lm_eval"), _harness_blocks(results, text))] if results["lm_eval"] else []),
        Section("curves", text("curves"), _curve_blocks(results, text), of("curve_")),
        Section("cost", text("cost"), _cost_blocks(results, text)),
        Section(
            "contamination",
            text("contamination"),
            _contamination_blocks(results, text),
        ),
        Section("environment", text("environment"), [Block(environment_table(results, text))], folded=True),
        Section("configuration", text("configuration"), [Block(config_table(results, text))], folded=True),
    ]


def _score_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(score_table(results, text), note=_scores_note(results, text), empty=text("say_nothing")),
        *([Block(seed_table(results, text), title=text("seeds"), note=text("seeds_note"))] if results["seeds"] else []),
        Block(outcome_table(results, text), title=text("outcomes"), folded=True),
        Block(control_table(results, text), title=text("controls"), note=text("controls_note"), folded=True),
    ]


def _scores_note(results: Results, text: Text) -> str:
    """What holds for every domain, and the note of each domain that is shown."""
    tasks = dict.fromkeys(task_of(domain).name for domain in shown_domains(results))
    own = [text.of(note(results["config"])) for name in tasks if (note := TASKS[name].note)]
    return text("space").join([text("scores_note"), *own])


def _contrast_blocks(results: Results, text: Text) -> list[Block]:
    notes = [text("contrasts_note")]
    if {"student_sft", "student_kd"} <= results["evaluation"].keys() and results["config"]["kd_init"] != "base":
        notes.append(text("kd_after_sft_note", epochs=results["config"]["kd_epochs"]))
    empty = text("no_contrasts" if has_scores(results) else "say_not_graded")
    return [
        Block(contrast_table(results, text), note=text("space").join(notes), empty=empty),
        Block(gap_table(results, text), title=text("gap"), note=text("gap_note")),
    ]


def _fidelity_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(fidelity_table(results, text), note=text("fidelity_note"), empty=text("no_fidelity")),
        Block(fidelity_contrast_table(results, text), note=text("fidelity_contrast_note")),
        Block(domain_fidelity_table(results, text), title=text("by_domain"), folded=True),
    ]


def _harness_blocks(results: Results, text: Text) -> list[Block]:
    found = results["lm_eval"].values()
    notes = [text("lm_eval_note", version=", ".join(sorted({run["version"] for run in found})))]
    notes += [text("lm_eval_limited", limit=run["limit"]) for run in found if run["limit"] is not None][:1]
    return [Block(harness_table(results, text), note=text("space").join(notes))]


def _curve_blocks(results: Results, text: Text) -> list[Block]:
    notes = [text("curves_note")]
    for arm in results["curves"]:
        weight = results["stages"][arm]["metrics"].get("merge_weight", 1) if arm in results["stages"] else 1
        if weight < 1:
            notes.append(text("merge_note", arm=arm.upper(), share=f"{100 * weight:.3g}%"))
    return [
        Block(training_table(results, text), note=text("space").join(notes), empty=text("no_curves")),
        Block(opd_table(results, text), title=text("opd_health"), note=text("opd_note")),
        Block(answer_table(results, text), title=answers_title(results, text)),
        Block(curation_table(results, text), title=text("curation"), note=text("curation_note"), folded=True),
        Block(
            never_right_table(results, text),
            title=text("never_right"),
            note=text("never_right_note", n=SHOWN_NEVER_RIGHT),
            folded=True,
        ),
    ]


def _contamination_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(contamination_table(results, text), note=text("contamination_note"), empty=text("none")),
        Block(
            leak_table(results, text),
            title=text("leaks"),
            note=text("leaks_note", n=SHOWN_LEAKS),
            folded=True,
        ),
    ]


def _cost_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(model_table(results, text), title=text("models"), note=text("models_note")),
        Block(stage_table(results, text), title=text("stages")),
        Block(
            prediction_table(results, text),
            title=text("predictions"),
            note=text("predictions_note"),
            folded=True,
            empty=text("no_predictions"),
        ),
        Block(disk_table(results, text), title=text("disk"), note=text("disk_note")),
    ]
