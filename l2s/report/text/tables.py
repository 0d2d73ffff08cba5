"""The tables of the report, once for all formats: a title, column names, and cells that are already text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from l2s.report.numbers.results import is_synthetic, shown_domains
from l2s.report.numbers.schema import Contrast, DomainResult, Fidelity, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.tasks.table import task_of

SHOWN_LEAKS = 20
SHOWN_NEVER_RIGHT = 20  # ids of a domain


class Cell(NamedTuple):
    """A value and, below it, its detail, such as an interval."""

    value: str
    detail: str = ""
    strong: bool = False


Cells = list[Cell | str]  # a row under construction; a bare string is a cell without detail


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first column names the row, or the group of rows that share its value."""

    header: list[str]
    rows: list[list[Cell]]
    is_grouped: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows."""
        return not self.rows

    @property
    def groups(self) -> list[tuple[Cell, list[list[Cell]]]]:
        """First column -> rows without it."""
        return [
            (first, [row[1:] for row in rows]) for first, rows in itertools.groupby(self.rows, key=lambda row: row[0])
        ]


def make_table(header: Iterable[str], rows: Iterable[Cells], *, is_grouped: bool = False) -> Table:
    """A table whose bare strings become cells."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    return Table(list(header), cells, is_grouped)


def domain_label(results: Results, domain: str, text: Text) -> str:
    """The name of a domain, with its source if the meaning of a score depends on it."""
    name = text.domain(domain)
    return text("synthetic", domain=name) if is_synthetic(results["sources"], domain) else name


def score_table(results: Results, text: Text) -> Table:
    """A row for each domain, a column for each model; the share of a domain's strict verdict is below its score."""
    evaluation = results["evaluation"]
    rows: list[Cells] = []
    for domain in shown_domains(results):
        found = {model: e["domain_results"].get(domain) for model, e in evaluation.items()}
        first = next((result for result in found.values() if result), None)
        if first is None:
            continue
        name = Cell(domain_label(results, domain, text), metric_label(first["metric"], first["n"], text))
        rows.append([name, *(score_cell(result) for result in found.values())])
        strict = task_of(domain).strict_detail
        if strict in first["also"]:
            name = Cell(name.value, metric_label(strict, first["n"], text))
            rows.append([name, *(_strict_cell(result, strict) for result in found.values())])
    return make_table([text("domain"), *(text(model) for model in evaluation)], rows)


def metric_label(metric: str, n: int, text: Text) -> str:
    """Metric and number of items, such as `exact match, n=200`."""
    return text("metric_of", metric=text.named(metric), n=n)


def _strict_cell(result: DomainResult | None, strict: str) -> Cell:
    if result is None or strict not in result["also"]:
        return Cell(formats.NONE)
    return Cell(formats.percent(result["also"][strict]), formats.percent_bounds(result["also_ci95"][strict]))


def score_cell(result: DomainResult | None, *, show_count: bool = False) -> Cell:
    """A score with its interval below it; a dash if the model has none or the domain is not graded."""
    if result is None or result["main_metric"] is None or result["ci95"] is None:
        return Cell(formats.NONE)
    count = f", n={result['n']}" if show_count else ""
    return Cell(formats.percent(result["main_metric"]), formats.percent_bounds(result["ci95"]) + count)


def outcome_table(results: Results, text: Text) -> Table:
    """Truncation, missing answers and the grader's verdicts, by domain and model."""
    header = ("domain", "model", "items", "truncated", "no_answer", "mean_tokens", "statuses", "also")
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            text(model),
            formats.count(result["n"]),
            Cell(formats.percent(result["truncated"] / result["n"]), formats.count(result["truncated"])),
            Cell(formats.percent(result["no_answer"] / result["n"]), formats.count(result["no_answer"])),
            formats.count(result["mean_tokens"]),
            text("comma").join(f"{text.named(status)} {number}" for status, number in result["statuses"].items()),
            text("comma").join(f"{text.named(name)} {formats.percent(share)}" for name, share in result["also"].items())
            or formats.NONE,
        ]
        for domain in shown_domains(results)
        for model, evaluation in results["evaluation"].items()
        if (result := evaluation["domain_results"].get(domain))
    ]
    return make_table([text(name) for name in header], rows, is_grouped=True)


def control_table(results: Results, text: Text) -> Table:
    """The grader's scores on answers without understanding, and on the reference answer."""
    rows: list[Cells] = [
        [domain_label(results, domain, text), text.named(name), formats.percent(score)]
        for domain, controls in results["controls"].items()
        for name, score in controls.items()
    ]
    return make_table([text(name) for name in ("domain", "control", "score_column")], rows, is_grouped=True)


CONTRAST_HEADER = ("domain", "contrast", "difference", "ci95", "p_holm", "wins_losses", "detectable", "conclusion")


FIDELITY_HEADER = ("model", "mean_kl", "top1_agreement", "perplexity", "answers", "tokens")


def contrast_table(results: Results, text: Text) -> Table:
    """Differences of scores in percentage points."""
    rows: list[Cells] = [
        [
            domain_label(results, contrast["domain"], text),
            contrast_name(contrast, text),
            *contrast_cells(contrast, text),
        ]
        for contrast in results["comparisons"]
    ]
    return make_table([text(name) for name in CONTRAST_HEADER], rows, is_grouped=True)


def contrast_cells(contrast: Contrast, text: Text) -> list[Cell]:
    """Difference, interval, p-value, wins and losses, smallest detectable difference, conclusion."""
    least = contrast["minimum_detectable_difference"]
    return [
        Cell(formats.points(contrast["difference"]), strong=is_detectable(contrast)),
        Cell(bounds_text([bound * 100 for bound in contrast["ci95"]], text)),
        Cell(formats.p_value(contrast["p_holm"])),
        Cell(f"{contrast['wins']} / {contrast['losses']}"),
        Cell(formats.NONE if least is None else f"±{least * 100:.1f}"),
        Cell(text(contrast["verdict"])),
    ]


def is_detectable(contrast: Contrast) -> bool:
    """Whether the difference may be called one."""
    return contrast["verdict"] != "no detectable difference"


def contrast_name(contrast: Contrast, text: Text) -> str:
    """Such as `KD − SFT`."""
    return f"{text(contrast['model'])} {formats.MINUS} {text(contrast['reference'])}"


def bounds_text(bounds: list[float], text: Text, digits: int = 1) -> str:
    """A signed interval in words."""
    return text("interval", low=formats.signed(bounds[0], digits), high=formats.signed(bounds[1], digits))


def gap_table(results: Results, text: Text) -> Table:
    """Share of the teacher's lead that each student recovered."""
    rows: list[Cells] = [
        [
            domain_label(results, gap["domain"], text),
            text(gap["model"]),
            text("withheld") if gap["recovered"] is None else formats.percent(gap["recovered"], 0),
            formats.NONE if gap["ci95"] is None else f"{bounds_text([100 * b for b in gap['ci95']], text, 0)} %",
            Cell(formats.points(gap["teacher_lead"]), bounds_text([100 * b for b in gap["teacher_lead_ci95"]], text)),
        ]
        for gap in results["gap_recovered"]
    ]
    header = ("domain", "model", "recovered", "ci95", "teacher_lead")
    return make_table([text(name) for name in header], rows, is_grouped=True)


def fidelity_table(results: Results, text: Text) -> Table:
    """Mean KL, top-1 agreement and perplexity over all domains."""
    rows: list[Cells] = [[text(model), *_fidelity_cells(found)] for model, found in results["fidelity"].items()]
    return make_table([text(name) for name in FIDELITY_HEADER], rows)


def domain_fidelity_table(results: Results, text: Text) -> Table:
    """The same by domain."""
    rows: list[Cells] = [
        [domain_label(results, domain, text), text(model), *_fidelity_cells(overall["domains"][domain])]
        for domain in shown_domains(results)
        for model, overall in results["fidelity"].items()
        if domain in overall.get("domains", {})
    ]
    return make_table([text(name) for name in ("domain", *FIDELITY_HEADER)], rows, is_grouped=True)


def kl_cell(measured: Fidelity | None) -> Cell:
    """Mean KL with its interval; the teacher's own is 0 by definition and has none."""
    if measured is None:
        return Cell(formats.NONE)
    return Cell(formats.nats(measured["mean_kl"]), _plain_bounds(measured["ci95"]["mean_kl"]))


def _fidelity_cells(measured: Fidelity) -> list[Cell]:
    bounds = measured["ci95"]
    return [
        kl_cell(measured),
        Cell(formats.percent(measured["top1_agreement"]), _percent_bounds(bounds["top1_agreement"])),
        Cell(formats.nats(measured["perplexity"]), _plain_bounds(bounds["perplexity"])),
        Cell(formats.count(measured["n"])),
        Cell(formats.count(measured["num_tokens"])),
    ]


def _percent_bounds(bounds: list[float]) -> str:
    return formats.percent_bounds(bounds) if bounds[0] < bounds[1] else ""


def _plain_bounds(bounds: list[float]) -> str:
    return f"{formats.nats(bounds[0])}–{formats.nats(bounds[1])}" if bounds[0] < bounds[1] else ""


def fidelity_contrast_table(results: Results, text: Text) -> Table:
    """Differences of mean KL in nats a token."""
    rows: list[Cells] = [
        [
            contrast_name(contrast, text),
            Cell(formats.signed(contrast["difference"], 4), strong=is_detectable(contrast)),
            bounds_text(contrast["ci95"], text, 4),
            formats.p_value(contrast["p_holm"]),
            formats.count(contrast["n"]),
            formats.NONE if (least := contrast["minimum_detectable_difference"]) is None else f"±{least:.4f}",
            _closeness(contrast, text),
        ]
        for contrast in results["fidelity_comparisons"]
    ]
    header = ("contrast", "difference", "ci95", "p_holm", "answers", "detectable", "conclusion")
    return make_table([text(name) for name in header], rows)


def _closeness(contrast: Contrast, text: Text) -> str:
    return text({"lower": "closer", "higher": "farther"}.get(contrast["verdict"], contrast["verdict"]))


HARNESS_HEADER = ("Tasks", "Version", "Filter", "n-shot", "Metric", "Value", "Stderr")
DIRECTIONS = {True: " ↑", False: " ↓", None: ""}


def harness_table(results: Results, text: Text) -> Table:
    """The table of lm-evaluation-harness, with its columns and digits, one model after the other."""
    rows: list[Cells] = [
        [
            text(model),
            row["alias"],
            str(row["version"]),
            row["filter"],
            formats.NONE if row["num_fewshot"] is None else str(row["num_fewshot"]),
            row["metric"] + DIRECTIONS[row["higher_is_better"]],
            f"{row['value']:.4f}" if isinstance(row["value"], float) else str(row["value"]),
            formats.NONE if row["stderr"] is None else f"±{row['stderr']:.4f}",
        ]
        for model, found in results["lm_eval"].items()
        for row in found["rows"]
    ]
    return make_table([text("model"), *HARNESS_HEADER], rows, is_grouped=True)


def answer_table(results: Results, text: Text) -> Table:
    """How many of the teacher's training answers were right, and how many more the further tries added."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = [
        [text(name), formats.count(metrics[name])]
        for name in ("num_responses", "num_rejected", "truncated")
        if name in metrics
    ]
    if "generate" in results["stages"] and results["config"].get("teacher_context", "none") != "none":
        rows.append([text("teacher_context"), str(results["config"]["teacher_context"])])
    for domain, score in metrics.get("mean_score", {}).items():
        rows.append([text("mean_score_on", domain=domain_label(results, domain, text)), formats.percent(score)])
    for found in metrics.get("tries", []):
        yielded = text("try_yield", correct=formats.count(found["correct"]), asked=formats.count(found["asked"]))
        rows.append([text("try", number=found["try"]), yielded])
    return make_table([text("teacher_answers"), text("value")], rows)


def curation_table(results: Results, text: Text) -> Table:
    """Of the answers in each domain: how many were kept, why the others were not, and how hard the items were."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            formats.count(found["items"]),
            formats.count(found["answers"]),
            formats.count(found["unusable"]),
            formats.count(found["duplicates"]),
            formats.count(found["outliers"]),
            *(formats.count(number) for number in found["difficulty"]),
        ]
        for domain, found in metrics.get("curation", {}).items()
    ]
    header = (
        "domain", "curation_items", "curation_answers", "curation_unusable", "curation_duplicates", "curation_outliers",
        "none_right", "few_right", "most_right", "all_right",
    )  # fmt: skip
    return make_table([text(name) for name in header], rows)


def never_right_table(results: Results, text: Text) -> Table:
    """By domain, the training items that no answer gets right: how many of the graded ones, and the first ids."""
    metrics = results["stages"]["generate"]["metrics"] if "generate" in results["stages"] else {}
    rows: list[Cells] = []
    for domain, ids in results["never_right"].items():
        graded = sum(metrics["curation"][domain]["difficulty"]) if domain in metrics.get("curation", {}) else 0
        share = formats.percent(len(ids) / graded) if graded else ""
        named = [*ids[:SHOWN_NEVER_RIGHT], *(["…"] if len(ids) > SHOWN_NEVER_RIGHT else [])]
        rows.append([domain_label(results, domain, text), Cell(formats.count(len(ids)), share), ", ".join(named)])
    return make_table([text(name) for name in ("domain", "items", "item_ids")], rows)


def _from_to(steps: list[dict[str, float]]) -> str:
    return f"{formats.nats(steps[0]['loss'])} → {formats.nats(steps[-1]['loss'])}" if steps else formats.NONE


def held_out_answers(results: Results, arm: str) -> int | None:
    """Number of answers that an arm was not trained on, so that its loss could be followed."""
    return results["stages"][arm]["metrics"].get("held_out") if arm in results["stages"] else None


def training_table(results: Results, text: Text) -> Table:
    """What each arm trained on and its final loss; sequences that were held out or did not fit are counted."""
    rows: list[Cells] = []
    for arm, steps in results["curves"].items():
        metrics = results["stages"][arm]["metrics"] if arm in results["stages"] else {}
        rows.append(
            [
                arm.upper(),
                formats.count(metrics.get("num_sequences")),
                formats.count(held_out_answers(results, arm)),
                formats.count(metrics.get("dropped_overlong")),
                formats.count(metrics.get("cut_overlong")),
                formats.count(metrics.get("num_tokens")),
                formats.count(steps[-1].get("step")),
                _from_to(steps),
                _from_to(results["heldout_curves"].get(arm, [])),
            ]
        )
    header = (
        "arm", "sequences", "held_out", "dropped_overlong", "cut_overlong", "tokens", "steps", "loss_trained",
        "loss_held_out",
    )  # fmt: skip
    return make_table([text(name) for name in header], rows)


def contamination_table(results: Results, text: Text) -> Table:
    """Evaluation items found again in the training data."""
    rows: list[Cells] = [
        [
            domain_label(results, domain, text),
            formats.count(found["train_items"]),
            formats.count(found["eval_items"]),
            formats.count(len(found["duplicates"])),
            formats.count(len(found["ngram_overlaps"])),
        ]
        for domain, found in results["contamination"].items()
    ]
    header = ("domain", "train_items", "eval_items", "duplicates", "ngram_overlaps")
    return make_table([text(name) for name in header], rows)


def leak_table(results: Results, text: Text) -> Table:
    """The affected items, most affected first; results.json has all of them."""
    leaks = [leak for found in results["contamination"].values() for leak in found["duplicates"]]
    leaks += [leak for found in results["contamination"].values() for leak in found["ngram_overlaps"]]
    leaks.sort(key=lambda leak: -leak["share"])
    rows: list[Cells] = [
        [leak["eval_id"], leak["train_id"], formats.percent(leak["share"], 0), leak["ngram"] or text("whole_problem")]
        for leak in leaks[:SHOWN_LEAKS]
    ]
    return make_table([text(name) for name in ("eval_item", "train_item", "share", "shared_text")], rows)
