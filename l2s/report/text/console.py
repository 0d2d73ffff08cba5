"""The summary on the console at the end of a run."""

from __future__ import annotations

import json

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from l2s.report.numbers.schema import Results
from l2s.report.numbers.warnings import trusted_code
from l2s.report.text.formats import NONE
from l2s.report.text.strings import Lang, Text
from l2s.report.text.tables.scores import score_table
from l2s.report.text.tables.seeds import seed_lines
from l2s.report.text.tables.table import Cell
from l2s.report.text.verdict import contamination_sentences, write_verdict
from l2s.report.text.warnings import say
from l2s.run_dir import RunDir
from l2s.terminal import take_any_character
from l2s.visible import in_one_line, visible


def print_summary(run_dir: RunDir, console: Console) -> None:
    """Print the summary of a run's results.json: the headline, the scores, then one line for each further question."""
    take_any_character(console.file)
    results: Results = json.loads(run_dir.results.read_text(encoding="utf-8"))
    text = Text(results["config"]["lang"])
    verdict = write_verdict(results, text)
    contaminated = [text.spaced(sentence) for sentence in contamination_sentences(results, text)]
    console.print(in_one_line(verdict.headline), style="bold", markup=False)
    if results["evaluation"]:
        console.print(summary_table(results))
    for warning in trusted_code(results["config"]):
        console.print(f"- {in_one_line(say(warning, text))}", style="yellow", markup=False)
    for line in (*verdict.lines, *seed_lines(results, text)):
        console.print(f"- {in_one_line(line)}", style="yellow" if line in contaminated else None, markup=False)


def summary_table(results: Results) -> Table:
    """Scores, and mean KL to the teacher below them, with intervals: a row for each domain, a column for each model."""
    lang: Lang = results["config"]["lang"]
    text = Text(lang)
    scores = score_table(results, text)
    title = Line(in_one_line(results["experiment_name"]))
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", collapse_padding=True)
    table.add_column(Line(scores.header[0]), overflow="fold")
    for name in scores.header[1:]:
        table.add_column(Line(name), justify="right", overflow="fold")
    for row in scores.rows:
        table.add_row(*map(_line, row))
    if results["fidelity"]:
        table.add_row(text("mean_kl"), *(_line(_mean_kl(results, model)) for model in results["evaluation"]))
    return table


def _mean_kl(results: Results, model: str) -> Cell:
    """Mean KL with three decimals, which leaves room for the interval in a narrow terminal."""
    measured = results["fidelity"].get(model)
    if measured is None:
        return Cell(NONE)
    low, high = measured["ci95"]["mean_kl"] if measured["ci95"] else (0, 0)
    return Cell(f"{measured['mean_kl']:.3f}", f"{low:.3f}–{high:.3f}" if low < high else "")


def _line(cell: Cell) -> Line:
    return Line(visible(f"{cell.value}\n{cell.detail}" if cell.detail else cell.value))
