"""The summary that stands at the end of a run in the terminal."""

from __future__ import annotations

import json

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from l2s.report.schema import Results
from l2s.report.strings import Lang, Text
from l2s.report.tables import score_table
from l2s.run_dir import RunDir


def print_summary(run_dir: RunDir, console: Console) -> None:
    """Print the summary of the results.json of a run."""
    results: Results = json.loads(run_dir.results.read_text(encoding="utf-8"))
    console.print(summary_table(results))


def summary_table(results: Results) -> Table:
    """Scores with intervals, domains down and models across; below them the mean KL to the teacher."""
    lang: Lang = results["config"]["lang"]
    text = Text(lang)
    scores = score_table(results, text)
    table = Table(box=box.SIMPLE_HEAD, title=results["experiment_name"], title_justify="left")
    table.add_column(scores.header[0], overflow="fold")
    for name in scores.header[1:]:
        table.add_column(name, justify="right")
    for row in scores.rows:
        table.add_row(*(Line(f"{cell.value}\n{cell.detail}" if cell.detail else cell.value) for cell in row))
    if results["fidelity"]:
        table.add_row(text("mean_kl"), *(_mean_kl(results, model) for model in results["evaluation"]))
    return table


def _mean_kl(results: Results, model: str) -> str:
    measured = results["fidelity"].get(model)
    return f"{measured['mean_kl']:.4f}" if measured else "–"
