"""The reports of a run as text, for tests that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from l2s.config import ExperimentConfig
from l2s.jsonl import Row, write_jsonl
from l2s.report import stage
from l2s.report.text.strings import Lang
from l2s.run_dir import RunDir, fingerprint
from l2s.sealed import write_sealed


def written_reports(config: ExperimentConfig, run_dir: RunDir, lang: Lang) -> tuple[str, str]:
    """Write the reports of a run in `lang`, and return the Markdown and the HTML."""
    stage.run(config.model_copy(update={"lang": lang}), run_dir)
    return run_dir.comparison_report.read_text(encoding="utf-8"), run_dir.browser_report.read_text(encoding="utf-8")


def write_predictions(run_dir: RunDir, model: str, rows: Sequence[Row]) -> None:
    """Replace a model's predictions, as if its evaluation had given them: its manifest knows the new file."""
    path, manifest = run_dir.predictions(model), run_dir.manifest(f"evaluate_{model}")
    write_jsonl(path, rows)
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["outputs"][str(path.relative_to(run_dir.root))] = fingerprint(path)
    write_sealed(manifest, content)
