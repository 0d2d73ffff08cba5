"""`make audit` passes only if every package was looked up and every finding is accepted until a day to come."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import audit.__main__ as audit

TODAY = date(2026, 11, 26)
FOUND = {  # the form of pip-audit 2.10.1's JSON
    "dependencies": [
        {"name": "jinja2", "version": "3.1.0", "vulns": [
            {"id": "PYSEC-2026-7", "fix_versions": ["3.1.9"], "aliases": ["CVE-2026-1234"], "description": "..."},
        ]},
        {"name": "numpy", "version": "2.4.0", "vulns": []},
    ],
    "fixes": [],
}  # fmt: skip
SKIPPED = {"dependencies": [{"name": "torch", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}
ENTRY = '[[accepted]]\npackage = "Jinja2"\nadvisory = "CVE-2026-1234"\nwhy = "templates are our own"\nuntil = {}\n'


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, found: Any, accepted: str = "") -> int:
    (folder / "accepted.toml").write_text(accepted)
    (folder / "found.json").write_text(found if isinstance(found, str) else json.dumps(found))
    monkeypatch.setattr(audit, "ACCEPTED", folder / "accepted.toml")
    return audit.main([str(folder / "found.json")])


def test_nothing_found_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, {"dependencies": FOUND["dependencies"][1:], "fixes": []}) == 0


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ("", "jinja2 3.1.0: PYSEC-2026-7 = CVE-2026-1234, fixed in 3.1.9; update the package"),
        (ENTRY.format("2020-01-31"), "its acceptance expired on 2020-01-31: templates are our own"),
        (ENTRY.format("2999-01-31").replace("Jinja2", "numpy"), "update the package"),
        (ENTRY.format("2999-01-31").replace("1234", "9999"), "update the package"),
        (ENTRY.format('"2999-01-31"'), "entry 1: until must be given, as date"),
        (ENTRY.format("2999-01-31").replace("templates are our own", ""), "entry 1: why must be given"),
        (ENTRY.format("2999-01-31") + "til = 3", "no such field: til"),
        ("[[accepted", "audit: "),
    ],
)
def test_a_finding_that_is_not_accepted_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accepted: str, said: str
) -> None:
    assert run(tmp_path, monkeypatch, FOUND, accepted) == 1
    assert said in capsys.readouterr().err


def test_an_accepted_finding_passes_and_one_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, FOUND, ENTRY.format("2999-01-31")) == 0
    assert "accepted until 2999-01-31: templates are our own" in capsys.readouterr().out
    assert run(tmp_path, monkeypatch, {"dependencies": []}, ENTRY.format("2999-01-31")) == 0
    assert "no longer found: remove it" in capsys.readouterr().out


def test_the_last_day_still_counts() -> None:
    findings, _ = audit.read_findings(json.dumps(FOUND))
    entry = audit.Accepted("jinja2", "PYSEC-2026-7", "x", TODAY)
    assert audit.complaints(findings, [], [entry], TODAY) == []
    assert len(audit.complaints(findings, [], [entry], date(2026, 11, 27))) == 1


@pytest.mark.parametrize("found", [SKIPPED, "", "[]", "{}", '{"dependencies": [{"vulns": [{}]}]}'])
def test_packages_that_were_not_looked_up_and_broken_output_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Any
) -> None:
    """pip-audit itself says `No known vulnerabilities found` where it could look up nothing."""
    assert run(tmp_path, monkeypatch, found) == 1


def test_the_entries_of_this_repository_can_be_read() -> None:
    assert all(entry.why for entry in audit.read_accepted(audit.ACCEPTED))
