"""How the command line refuses bad input: one line, exit status 2, and no model looked at."""

from __future__ import annotations

import pytest

from l2s.cli import main

LONGEST_LINE = 700  # characters; a user reads this at a glance, whatever was given


class Refusals:
    """Runs commands that must be refused."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        monkeypatch.setattr("l2s.runner.experiment.check_models", _must_not_be_reached)

    def line(self, *argv: str) -> str:
        """The one line that the command prints to refuse these arguments."""
        self._capsys.readouterr()
        try:
            status = main(argv)
        except SystemExit as stop:
            status = int(str(stop.code))
        line = self._capsys.readouterr().err.removesuffix("\n")
        assert status == 2, f"status {status}: {line}"
        assert len(line.splitlines()) == 1, line
        assert line.isprintable(), ascii(line)
        assert len(line) <= LONGEST_LINE, f"{len(line)} characters: {line[:LONGEST_LINE]}"
        return line


def _must_not_be_reached(*args: object, **kwargs: object) -> None:
    raise AssertionError("the settings were accepted: models are looked at next")


def missing(words: tuple[str, ...], line: str) -> list[str]:
    """The words that a line lacks."""
    return [word for word in words if word not in line]
