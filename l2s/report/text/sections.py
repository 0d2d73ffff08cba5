"""The sections of the report in order, with their notes and tables; the same for Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field

from l2s.report.numbers.results import has_scores, shown_domains
from l2s.report.numbers.schema import Results
from l2s.report.text import cost_tables, tables
from l2s.report.text.opd_table import opd_table
from l2s.report.text.seed_table import seed_table
from l2s.report.text.strings import Text
from l2s.report.text.tables import Table
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
        Section("environment", text("environment"), [Block(cost_tables.environment_table(results, text))], folded=True),
        Section("configuration", text("configuration"), [Block(cost_tables.config_table(results, text))], folded=True),
    ]


def _score_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(tables.score_table(results, text), note=_scores_note(results, text), empty=text("say_nothing")),
        *([Block(seed_table(results, text), title=text("seeds"), note=text("seeds_note"))] if results["seeds"] else []),
        Block(tables.outcome_table(results, text), title=text("outcomes"), folded=True),
        Block(tables.control_table(results, text), title=text("controls"), note=text("controls_note"), folded=True),
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
        Block(tables.contrast_table(results, text), note=text("space").join(notes), empty=empty),
        Block(tables.gap_table(results, text), title=text("gap"), note=text("gap_note")),
    ]


def _fidelity_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(tables.fidelity_table(results, text), note=text("fidelity_note"), empty=text("no_fidelity")),
        Block(tables.fidelity_contrast_table(results, text), note=text("fidelity_contrast_note")),
        Block(tables.domain_fidelity_table(results, text), title=text("by_domain"), folded=True),
    ]


def _harness_blocks(results: Results, text: Text) -> list[Block]:
    found = results["lm_eval"].values()
    notes = [text("lm_eval_note", version=", ".join(sorted({run["version"] for run in found})))]
    notes += [text("lm_eval_limited", limit=run["limit"]) for run in found if run["limit"] is not None][:1]
    return [Block(tables.harness_table(results, text), note=text("space").join(notes))]


def _curve_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(tables.training_table(results, text), note=text("curves_note"), empty=text("no_curves")),
        Block(opd_table(results, text), title=text("opd_health"), note=text("opd_note")),
        Block(tables.answer_table(results, text), title=text("teacher_answers")),
        Block(tables.curation_table(results, text), title=text("curation"), note=text("curation_note"), folded=True),
        Block(
            tables.never_right_table(results, text),
            title=text("never_right"),
            note=text("never_right_note", n=tables.SHOWN_NEVER_RIGHT),
            folded=True,
        ),
    ]


def _contamination_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(tables.contamination_table(results, text), note=text("contamination_note"), empty=text("none")),
        Block(
            tables.leak_table(results, text),
            title=text("leaks"),
            note=text("leaks_note", n=tables.SHOWN_LEAKS),
            folded=True,
        ),
    ]


def _cost_blocks(results: Results, text: Text) -> list[Block]:
    return [
        Block(cost_tables.model_table(results, text), title=text("models"), note=text("models_note")),
        Block(cost_tables.stage_table(results, text), title=text("stages")),
        Block(
            cost_tables.prediction_table(results, text),
            title=text("predictions"),
            note=text("predictions_note"),
            folded=True,
            empty=text("no_predictions"),
        ),
        Block(cost_tables.disk_table(results, text), title=text("disk"), note=text("disk_note")),
    ]
