"""A short form of `make soak`: repeated stages leave nothing behind, and what grows is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from faults.soak import MEASURES, Soak, growths, own_scratch, repeat, table
from l2s.chat import load as chat_load

NAMES = [measure.name for measure in MEASURES]


def flat(number: int) -> list[list[float]]:
    return [[500.0, 20, 8, 2, 0, 48, 195, 3380] for _ in range(number)]


def verdicts(samples: list[list[float]]) -> dict[str, str]:
    """The measures that are not flat, with their verdicts."""
    return {one.measure.name: one.verdict for one in growths(samples) if one.verdict != "flat"}


def test_repeated_stages_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        vars(chat_load), "AutoTokenizer", AutoTokenizer
    )  # undone at the end: the soak shares tokenizers
    with own_scratch(tmp_path / "scratch"):
        soak = Soak(tmp_path / "experiment", arms="sft")

        def work() -> None:
            soak.repeat()
            soak.grade()

        samples = repeat(soak, work, lambda number: number < 4)
    # of four repetitions, which warm up, memory says nothing
    assert verdicts(samples).keys() <= {NAMES[0]}
    assert samples[-1][NAMES.index("output files")] > 20


@pytest.mark.parametrize("name", NAMES)
def test_what_each_repetition_adds_is_named(name: str) -> None:
    samples = flat(12)
    for number, sample in enumerate(samples):
        sample[NAMES.index(name)] += 2.0 * number
    assert verdicts(samples) == {name: "GREW"}
    assert "+2.000" in table(samples)


def test_what_leaks_in_every_third_repetition_is_named() -> None:
    samples = flat(30)
    for number, sample in enumerate(samples):
        sample[1] += number // 3
    assert verdicts(samples) == {NAMES[1]: "GREW"}


def test_what_grows_while_it_warms_up_and_noise_are_not_named() -> None:
    samples = flat(12)
    for number, sample in enumerate(samples):
        sample[0] += 100 * min(number, 5)
        sample[1] += number == 9
    assert verdicts(samples) == {}


def test_few_and_noisy_repetitions_do_not_pass_for_flat() -> None:
    samples = flat(4)
    for sample, memory in zip(samples, (500, 520, 510, 514), strict=True):
        sample[0] = memory
    assert verdicts(samples) == {NAMES[0]: "GREW"}
    samples = flat(8)
    for sample, memory in zip(samples, (500, 520, 510, 514, 512, 516, 511, 515), strict=True):
        sample[0] = memory
    assert verdicts(samples) == {NAMES[0]: "UNKNOWN"}
