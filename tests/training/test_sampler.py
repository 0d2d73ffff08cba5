"""Batches of similar length in random order."""

from __future__ import annotations

from l2s.training.sampler import LengthGroupedSampler

LENGTHS = [100 if number % 4 else 1000 for number in range(64)]


def test_every_sequence_comes_once_an_epoch() -> None:
    for size in (4, 5, 100):
        assert sorted(LengthGroupedSampler(LENGTHS, size, seed=1)) == list(range(64))


def test_batches_hold_similar_lengths() -> None:
    order = list(LengthGroupedSampler(LENGTHS, 4, seed=1))
    batches = [order[start : start + 4] for start in range(0, 64, 4)]
    padded = sum(4 * max(LENGTHS[index] for index in batch) for batch in batches)
    assert padded < 1.3 * sum(LENGTHS)  # batches at random would pad 64 * 1000 against 20800 tokens


def test_long_batches_do_not_come_together() -> None:
    order = list(LengthGroupedSampler(LENGTHS, 4, seed=1))
    is_long = [LENGTHS[order[start]] == 1000 for start in range(0, 64, 4)]
    first = is_long.index(True)
    assert not all(is_long[first : first + sum(is_long)])


def test_an_epoch_is_repeatable_and_epochs_differ() -> None:
    sampler, again = LengthGroupedSampler(LENGTHS, 4, seed=1), LengthGroupedSampler(LENGTHS, 4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    again.set_epoch(1)
    assert list(sampler) == list(again) != first
