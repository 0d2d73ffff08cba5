"""A short form of what `make faults` does with every file: damage is detected or harmless, and errors help."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from faults.broken_files import DAMAGES, FOLDER, flip, make_cases, try_cases
from faults.finished import Finished, build
from faults.readers import READERS

TRIED = 160
HOW = (*DAMAGES, FOLDER)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return build(tmp_path_factory.mktemp("broken"))


def test_no_damage_of_a_file_gives_a_wrong_result_or_a_traceback(finished: Finished) -> None:
    cases = random.Random(0).sample(make_cases(finished, 1000, seed=0), TRIED)
    tallies = try_cases(finished, cases)
    assert [line for tally in tallies.values() for line in tally.lost] == []
    assert sum(tally.tried for tally in tallies.values()) == TRIED
    assert sum(tally.detected for tally in tallies.values()) > TRIED // 2


def test_the_table_has_every_file_in_every_damage(finished: Finished) -> None:
    cases = make_cases(finished, 800, seed=0)
    assert len(cases) >= 800
    damages = Counter((case.reader.name, case.file, case.damage) for case in cases)
    files = {(reader.name, file) for reader in READERS for file in reader.files(finished)}
    assert damages.keys() == {(*file, damage) for file in files for damage in HOW}
    assert {name for name, _ in files} == {reader.name for reader in READERS}


def test_damage_that_nobody_notices_is_counted(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table itself must be able to fail: without its checksum a changed byte in config.yaml passes."""
    monkeypatch.setattr("l2s.run_dir.folder.CHECKSUM", "# another mark")
    monkeypatch.setitem(
        DAMAGES, "flipped bytes", lambda data, rng: data.replace(b"max_length: 512", b"max_length: 513")
    )
    cases = [
        case for case in make_cases(finished, 1, 0) if case.damage == "flipped bytes" and "config" in case.file.name
    ]
    cases = [case for case in cases if case.reader.name.startswith("settings of a run")]
    (tally,) = try_cases(finished, cases).values()
    assert len(tally.lost) == tally.tried == 1


def test_a_flip_changes_something() -> None:
    assert all(flip(b"abcdef", random.Random(seed)) != b"abcdef" for seed in range(50))


def test_the_folder_is_mended_after_each_case(finished: Finished, tmp_path: Path) -> None:
    file = finished.done.predictions("teacher")
    before = file.read_bytes()
    with finished.mended_after(["outputs"]):
        file.unlink()
        file.mkdir()
        (file / "more").write_text("x")
        finished.done.plan.unlink()
        (finished.done.root / "new").mkdir()
    assert file.read_bytes() == before
    assert finished.done.plan.exists()
    assert not (finished.done.root / "new").exists()
