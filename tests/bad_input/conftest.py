"""The fixture of all tables of bad input."""

from __future__ import annotations

import pytest

from support.refusals import Refusals


@pytest.fixture
def refuse(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Refusals:
    """Commands run in an empty folder, without the variables that l2s reads."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    for name in ("L2S_DATA", "L2S_ENDPOINT_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Refusals(capsys, monkeypatch)
