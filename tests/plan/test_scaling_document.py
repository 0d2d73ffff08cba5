"""The plans in docs/SCALING.md are what the commands above them print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from l2s.cli import main

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "SCALING.md").read_text(encoding="utf-8")
PLANS = re.findall(r"^    (l2s plan [^\n]*)\n\n```\n(.*?)```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), PLANS, ids=[command for command, _ in PLANS])
def test_each_plan_is_what_its_command_prints(
    command: str, shown: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the assumptions, which stand below the table and of which the document shows few."""
    monkeypatch.chdir(tmp_path)
    main(shlex.split(command)[1:])
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    table = [line.startswith("Tokens of a mean") for line in printed].index(True)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[:table] == printed[:table]
    assert set(lines[table:]) <= set(printed[table:])


def test_every_recipe_has_a_plan() -> None:
    assert len(PLANS) == TEXT.count("    l2s plan ") >= 4
