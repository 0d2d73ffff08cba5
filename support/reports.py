"""The reports of a run as text, for tests that read them."""

from __future__ import annotations

from l2s.config import ExperimentConfig
from l2s.report import stage
from l2s.report.text.strings import Lang
from l2s.run_dir import RunDir


def written_reports(config: ExperimentConfig, run_dir: RunDir, lang: Lang) -> tuple[str, str]:
    """Write the reports of a run in `lang`, and return the Markdown and the HTML."""
    stage.run(config.model_copy(update={"lang": lang}), run_dir)
    return run_dir.comparison_report.read_text(encoding="utf-8"), run_dir.browser_report.read_text(encoding="utf-8")
