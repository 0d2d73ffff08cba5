"""Text from outside in the reports: it commands no terminal, spreadsheet or browser, and stays in its cell."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from l2s.report import stage
from l2s.report.text.compare import compare_runs
from l2s.report.text.console import print_summary
from l2s.report.text.csv_table import _cell, render_csv
from l2s.report.text.markdown import escape
from l2s.report.text.strings import Lang
from l2s.run_dir import RunDir
from l2s.visible import in_one_line, visible
from support.reports import written_reports
from support.synthetic_run import load_results, make_run

TERMINAL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\r\x08owned"
MARKUP = (
    "[/red][link=file:///x]a[/link] | ![x](https://evil/x.png) [a](javascript:alert(1)) <img src=x onerror=alert(1)>"
)
NAME = f"x{TERMINAL}\u202e\u200f\u061c{MARKUP}</script><!--\u2028$x$ ~~y~~ `z` # h &lt;b&gt;\n\n# new\n- item"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u202e\ud800-\udfff]")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_names_of_models_and_warnings_command_nothing(tmp_path: Path, lang: Lang) -> None:
    config, run_dir = make_run(
        tmp_path, sizes={"math": 4}, teacher_model=NAME, system_prompt=NAME, models=("teacher", "student_kd")
    )
    warn(run_dir, NAME)
    markdown, html = written_reports(config, run_dir, lang)
    for text in (markdown, html, (run_dir.comparison_table).read_text(encoding="utf-8"), printed(run_dir)):
        assert not COMMANDS.search(text), COMMANDS.search(text)
    assert "<img" not in markdown
    assert "&lt;img" in html
    assert not re.search(r"(?<!\\)\[a\]\(", markdown)
    assert not re.search(r"(?<!\\)\]\(https", markdown)
    assert "\n# new" not in markdown
    assert html.count("<script") == 3  # the page's own
    assert json.loads(run_dir.results.read_text(encoding="utf-8"))["config"]["teacher_model"] == NAME


def warn(run_dir: RunDir, text: str) -> None:
    """Put a sentence into the warnings of a stage, as a manifest of an early version holds it."""
    from l2s.run_dir import Manifest

    manifest = Manifest.load(run_dir.manifest("kd"))
    assert manifest is not None
    manifest.metrics["warnings"] = [text]  # type: ignore[list-item]
    manifest.save(run_dir.manifest("kd"))


def printed(run_dir: RunDir) -> str:
    stream = io.StringIO()
    print_summary(run_dir, Console(file=stream, width=120, highlight=False, soft_wrap=True))
    return stream.getvalue()


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "－1", "＠x", " =cmd|' /C calc'!A0"]
)
def test_a_text_is_no_formula_in_a_spreadsheet(text: str) -> None:
    assert not re.match(r"\s|[=+\-@＝＋－＠]", str(_cell(text)))


@pytest.mark.parametrize("value", [-1, -0.5, 1e-9, None, True, 0])
def test_a_number_stays_a_number(value: Any) -> None:
    assert _cell(value) is value


def test_the_table_has_one_line_for_each_row_whatever_its_texts_hold(tmp_path: Path) -> None:
    config, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("teacher",))
    stage.run(config, run_dir)
    results = load_results(run_dir)
    results["sources"] = {"math": ['=HYPERLINK("https://evil")', "a\rb\nc", TERMINAL]}
    text = render_csv(results)
    assert len(text.splitlines()) == 2
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["source"].startswith("'=HYPERLINK")


def test_escaped_text_has_no_meaning_in_markdown() -> None:
    shown = escape("| a | ![i](u) [l](javascript:x) <b> `c` *d* _e_ # f ~~g~~ $h$ \\i &amp; \n- j\n1. k")
    assert not re.search(r"(?<!\\)[|`*_\[\]#~$]", shown)
    assert "<" not in shown
    assert "&amp;amp;" in shown
    assert "\n" not in shown


def test_what_commands_or_reorders_is_spelled_out() -> None:
    assert visible("a\x1b[31m\u202eb\ud800\x9b\n\tc") == "a⟨U+1B⟩[31m⟨U+202E⟩b⟨U+D800⟩⟨U+9B⟩\n\tc"
    assert in_one_line(" a\r\n b\tc ") == "a b c"
    assert visible("汉字 é 👍🏽 עברית") == "汉字 é 👍🏽 עברית"


def test_a_comparison_of_two_runs_is_escaped_too(tmp_path: Path) -> None:
    for name, model in (("a", NAME), ("b", "other")):
        make_run(tmp_path, name=name, sizes={"math": 4}, models=("teacher",), teacher_model=model)
    assert not COMMANDS.search(compare_runs(tmp_path / "a", tmp_path / "b"))
