"""The report stage: from the files of a run to results.json and the reports."""

from __future__ import annotations

from l2s.config import ExperimentConfig
from l2s.durable import make_folder, write_text_atomic
from l2s.jsonl import dump_json
from l2s.metrics import ReportMetrics
from l2s.report.numbers.files import RunFiles, read_run
from l2s.report.numbers.results import build_results, item_rows
from l2s.report.numbers.warnings import find_warnings
from l2s.report.page.html import render_html
from l2s.report.page.plots import draw_plots
from l2s.report.text.csv_table import render_csv
from l2s.report.text.markdown import render_markdown
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say, say_of_stage
from l2s.run_dir import RunDir


def run(config: ExperimentConfig, run_dir: RunDir) -> ReportMetrics:
    """Write results.json, comparison_report.md, model_comparison.csv, report.html and plots/ from the run's files."""
    files = read_run(config, run_dir)
    text = Text(config.lang)
    results = build_results(files)
    warnings = find_warnings(results, files)
    results["warnings"] = [say(warning, text) for warning in warnings] + _warnings_of_stages(files, text)
    plots = draw_plots(results, text)

    make_folder(run_dir.plots)
    for name, svg in plots.items():
        write_text_atomic(run_dir.plots / f"{name}.svg", svg)
    for stale in run_dir.plots.glob("*.svg"):
        if stale.stem not in plots:
            stale.unlink(missing_ok=True)  # another report may be written at the same time
    write_text_atomic(run_dir.results, dump_json(results, indent=2) + "\n")
    write_text_atomic(run_dir.comparison_report, render_markdown(results, text, list(plots)))
    write_text_atomic(run_dir.comparison_table, render_csv(results))
    html = render_html(results, item_rows(files), plots, text)
    write_text_atomic(run_dir.browser_report, html)
    return {
        "models": list(results["evaluation"]),
        "html_bytes": len(html.encode()),
        "warnings": warnings,
    }


def _warnings_of_stages(files: RunFiles, text: Text) -> list[str]:
    return [
        say_of_stage(stage, warning, text)
        for stage, manifest in files.manifests.items()
        for warning in manifest.metrics.get("warnings", [])
    ]
