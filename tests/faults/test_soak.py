"""A short form of `make soak`: repeated stages leave nothing behind, and what grows is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.soak import MEASURES, Soak, grown, own_scratch, repeat, table

NAMES = [measure.name for measure in MEASURES]


def flat(number: int) -> list[list[float]]:
    return [[500.0, 20, 8, 2, 0, 48, 195, 3380] for _ in range(number)]


def test_repeated_stages_leave_nothing_behind(tmp_path: Path) -> None:
    with own_scratch(tmp_path / "scratch"):
        soak = Soak(tmp_path / "experiment", arms="sft")

        def work() -> None:
            soak.repeat()
            soak.grade()

        samples = repeat(soak, work, lambda number: number < 3)
    # of three repetitions, which warm up, memory says nothing; other tests and programs use /dev/shm
    assert [line for line in grown(samples) if not line.startswith(("memory", "files in /dev/shm"))] == []
    assert samples[-1][NAMES.index("output files")] > 20


@pytest.mark.parametrize("name", NAMES)
def test_what_each_repetition_adds_is_named(name: str) -> None:
    samples = flat(12)
    for number, sample in enumerate(samples):
        sample[NAMES.index(name)] += 2.0 * number
    assert [line.partition(":")[0] for line in grown(samples)] == [name]
    assert "+2.000" in table(samples)


def test_what_grows_while_it_warms_up_and_noise_are_not_named() -> None:
    samples = flat(12)
    for number, sample in enumerate(samples):
        sample[0] += 100 * min(number, 3) + number % 2
        sample[1] += number == 7
    assert grown(samples) == []
