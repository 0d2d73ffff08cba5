"""A short form of the power rounds: an experiment whose machine crashes keeps what it called durable, and resumes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.journal import NoCompilerError, Op, Record
from faults.kill import Tally
from faults.power import Recorded, check_promises, faults_of_recording, recording, resume_from_crashes
from faults.processes import Start

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recorded, Start]]:
    try:
        with recording(tmp_path_factory.mktemp("power"), ("--arms=sft",)) as found:
            yield found
    except NoCompilerError as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(900)
def test_what_was_called_durable_survives_a_crash_at_any_moment(
    recorded: tuple[Recorded, Start], tmp_path: Path
) -> None:
    tally = Tally()
    assert faults_of_recording(recorded[0]) == []
    check_promises(recorded[0], tmp_path, 40, tally, random.Random(0))
    assert tally.lost == []
    assert tally.tried >= 80


@pytest.mark.timeout(900)
def test_a_crashed_experiment_resumes_to_what_an_unbroken_one_gives(
    recorded: tuple[Recorded, Start], tmp_path: Path
) -> None:
    tally = Tally()
    resume_from_crashes(*recorded, tmp_path, 2, tally, random.Random(0))
    assert (tally.tried, tally.lost) == (2, [])


@pytest.mark.parametrize("forgotten", ["files", "folders"])
def test_an_fsync_that_is_forgotten_is_noticed(
    recorded: tuple[Recorded, Start], tmp_path: Path, forgotten: str
) -> None:
    of_folders = {one.inode for one in recorded[0].records if one.op is Op.FSYNC and one.data}

    def without_fsync(one: Record) -> Iterator[Record]:
        if one.op is not Op.FSYNC or (one.inode in of_folders) == (forgotten == "files"):
            yield one
        elif forgotten == "files":  # the journal learns names of files from it: an empty write tells them too
            yield replace(one, op=Op.WRITE, offset=0, data=b"")

    records = [left for one in recorded[0].records for left in without_fsync(one)]
    tally = Tally()
    check_promises(replace(recorded[0], records=records), tmp_path, 8, tally, random.Random(0))
    assert tally.lost
