"""Training sequences stay on disk: they are what was rendered, and memory does not grow with their tokens."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import write_jsonl
from l2s.sequences import (
    SequenceCounts,
    SequenceDataset,
    TrainingSequence,
    as_the_teacher_reads,
    hold_out,
    load_sequences,
    render_answer,
)
from l2s.signals.record import plan_shards
from l2s.signals.store import hash_sequences
from l2s.training.updates import Updates
from support.held_memory import bytes_held

MakeConfig = Callable[..., ExperimentConfig]


def rows(number: int, words: int = 3) -> list[dict[str, Any]]:
    return [
        {
            "id": f"三/{n}", "messages": [{"role": "user", "content": f"Count to {n}. " * (n % 4)}],
            "response": "one " * (words + n % 7), "finish_reason": "stop",
        }
        | ({"item": f"三/{n - n % 2}"} if n < 10 else {})
        | ({"teacher_messages": [{"role": "user", "content": "See: " + "the answer " * n}]} if n % 3 else {})
        for n in range(number)
    ]  # fmt: skip


def test_sequences_on_disk_are_those_that_were_rendered(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config, file = tiny_config(), tmp_path / "answers.jsonl"
    renderer = load_renderer(config, "student_model")
    write_jsonl(file, rows(20))
    expected = [render_answer(row, renderer, renderer) for row in rows(20)]
    found, counts = load_sequences(file, renderer, config, teacher=renderer)
    assert list(found) == expected
    assert counts.num_tokens == sum(sequence.num_response_tokens for sequence in expected)
    assert list(as_the_teacher_reads(found)) == [sequence.for_teacher() for sequence in expected]
    assert {sequence.teacher_input_ids is None for sequence in expected} == {True, False}
    updates = Updates(SequenceDataset(found), 0, 1)
    assert list(updates.lengths) == [len(sequence.input_ids) for sequence in expected]
    assert list(updates.num_tokens) == [sequence.num_response_tokens for sequence in expected]


def test_two_answers_under_one_id_are_refused(tiny_config: MakeConfig, tmp_path: Path) -> None:
    """KD looks signals up by id, so the second would get those of the first."""
    config, file = tiny_config(), tmp_path / "answers.jsonl"
    write_jsonl(file, [*rows(3), rows(2)[1] | {"response": "two"}])
    with pytest.raises(UserError, match=r"id='三/1': is the id of two rows of .*answers\.jsonl; .*--run_generate"):
        load_sequences(file, load_renderer(config, "student_model"), config)


def test_memory_holds_no_tokens(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config, file, number = tiny_config(max_length=10_000), tmp_path / "answers.jsonl", 100
    renderer = load_renderer(config, "student_model")
    write_jsonl(file, rows(number, words=1500))

    def load() -> Any:
        sequences, counts = load_sequences(file, renderer, config)
        return counts, hold_out(sequences, counts, config)[:2], plan_shards(sequences, 100_000)

    held, (counts, (trained, held_out), shards) = bytes_held(load)
    assert counts.num_tokens > 1500 * number
    assert len(trained) + len(held_out) == sum(map(len, shards)) == number
    assert held < 300 * number


def test_the_hash_of_sequences_is_that_of_their_sorted_lines() -> None:
    """Signals of earlier versions stay valid."""
    names = ["a", "a b", "a!", 'a"', "b", "三", "", "a\\", "A", "a/1", "a/10", "a/2"]
    sequences = [TrainingSequence(name, [n, 5], [-100, 5]) for n, name in enumerate(names)]
    lines = sorted(json.dumps([one.id, one.input_ids, one.labels]) for one in sequences)
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    random.Random(0).shuffle(sequences)
    assert hash_sequences(sequences) == expected


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_an_item_is_held_out_with_all_its_answers(wanted: int, tiny_config: MakeConfig) -> None:
    sequences = [TrainingSequence(f"{n}/{m}" if m else str(n), [1, 2], [-100, 2], item=str(n))
                 for n in range(80) for m in range(2)]  # fmt: skip
    trained, held_out, counts = hold_out(sequences, SequenceCounts(), tiny_config(heldout_answers=wanted))
    held = {sequence.item for sequence in held_out}
    assert len(held) == len(held_out) == counts.held_out == wanted
    assert [one.id for one in trained] == [one.id for one in sequences if one.item not in held]
    assert counts.num_tokens == counts.num_sequences == len(trained)


def test_an_item_whose_first_answer_does_not_fit_is_held_out_by_the_next(tiny_config: MakeConfig) -> None:
    sequences = [TrainingSequence(f"{n}~{m}", [1, 2], [-100, 2], item=str(n)) for n in range(40) for m in (2, 3)]
    trained, held_out, counts = hold_out(sequences, SequenceCounts(), tiny_config(heldout_answers=2))
    assert [one.id for one in held_out] == [f"{one.item}~2" for one in held_out]
    assert (len(held_out), counts.held_out, len(trained)) == (2, 2, 76)
