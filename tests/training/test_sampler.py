"""Batches of similar length in random order."""

from __future__ import annotations

from l2s.training.sampler import LengthGroupedSampler, group_size

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


def test_a_large_update_holds_several_groups_whatever_its_micro_batch() -> None:
    sizes = {(32, 32): 8, (16, 32): 8, (4, 32): 4, (16, 16): 4, (4, 16): 4, (2, 16): 2, (8, 8): 8, (4, 4): 4}
    assert {key: group_size(*key) for key in sizes} == sizes
    lengths = LENGTHS * 10

    def of_one_length(size: int) -> int:
        order = list(LengthGroupedSampler(lengths, size, seed=1))
        updates = [{lengths[index] for index in order[start : start + 16]} for start in range(0, len(order), 16)]
        return sum(len(update) == 1 for update in updates)

    assert of_one_length(16) > 35  # of 40
    assert of_one_length(group_size(16, 16)) < 20
