"""The summary at the end of a run, on terminals of all kinds."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from l2s.report.text.console import print_summary
from l2s.run_dir import RunDir


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "utf-8", "utf-16"])
@pytest.mark.parametrize("width", [1, 20, 80, 300])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_summary_is_printed_on_every_terminal(
    reported: RunDir, tmp_path: Path, encoding: str, width: int, lang: str
) -> None:
    shutil.copy(reported.results, tmp_path / "results.json")
    results = json.loads(reported.results.read_text(encoding="utf-8"))
    results["config"]["lang"] = lang
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_summary(RunDir(tmp_path), Console(file=stream, width=width, highlight=False, soft_wrap=True))
    stream.flush()
    stream.seek(0)
    printed = stream.read()
    assert len(printed) > 100
    if width >= 80 and lang == "en":
        assert "mean KL" in printed.replace("\n", " ") or "KL" in printed
