"""Teacher answers as token sequences, and batches of sequences.

SFT, KD, score and fidelity all get their sequences from `render_answer`: a model's own prompt, followed by the tokens
that the teacher generated.

Shapes: B sequences, T positions, N response tokens of the whole batch, row-major: sequence by sequence, left to right.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.errors import UserError, shown
from l2s.jsonl import Row, each_row
from l2s.loss.reference import IGNORE_INDEX
from l2s.on_disk import Ids, Made, Spilled, chosen

Signals = Mapping[str, Tensor]  # teacher signals at the response tokens of a sequence, one row per token
HELD_OUT_OF = 20  # at most one in this many answers is held out
TEACHER_PREFIX = "teacher_"  # marks teacher signals among the tensors of a batch


@dataclass(frozen=True)
class TrainingSequence:
    """A rendered prompt and answer, with the id of its row.

    Attributes:
        id: the row's id.
        input_ids: the student's prompt and the answer.
        labels: not shifted; IGNORE_INDEX before the answer.
        teacher_input_ids: the teacher's prompt and the same answer, if the teacher's prompt differs.
        item: id of the answered item, if that is not the row's.
    """

    id: str
    input_ids: list[int]
    labels: list[int]
    teacher_input_ids: list[int] | None = None
    item: str | None = None

    @property
    def num_response_tokens(self) -> int:
        """Number of tokens that the loss counts."""
        return sum(label != IGNORE_INDEX for label in self.labels)

    def for_teacher(self) -> TrainingSequence:
        """The sequence as the teacher reads it: its own prompt, then the same counted tokens."""
        if self.teacher_input_ids is None:
            return self
        answer = [label for label in self.labels if label != IGNORE_INDEX]
        before = [IGNORE_INDEX] * (len(self.teacher_input_ids) - len(answer))
        return TrainingSequence(self.id, self.teacher_input_ids, before + answer)

    def cut(self, length: int) -> TrainingSequence:
        """The first `length` tokens; the answer after the teacher's prompt is cut to the same number."""
        removed = max(len(self.input_ids) - length, 0)
        theirs = self.teacher_input_ids
        return replace(
            self,
            input_ids=self.input_ids[:length],
            labels=self.labels[:length],
            teacher_input_ids=theirs if theirs is None else theirs[: len(theirs) - removed],
        )


@dataclass(frozen=True)
class SequenceCounts:
    """How many rows were used, held out, dropped and cut; part of the stage's metrics."""

    num_sequences: int = 0  # trained on
    held_out: int = 0
    dropped_overlong: int = 0
    cut_overlong: int = 0
    dropped_empty: int = 0  # answers without a token
    tokenised_text: int = 0  # answers without token ids, or with ids that the student lacks
    num_tokens: int = 0  # response tokens of one epoch


def load_sequences(
    path: Path, renderer: ChatRenderer, config: ExperimentConfig, *, teacher: ChatRenderer | None = None
) -> tuple[Sequence[TrainingSequence], SequenceCounts]:
    """Render the response rows of `path`. Rows above config.max_length are dropped or cut, and counted.

    `renderer` is the student's. With `teacher`, sequences also hold that model's prompt where it differs. The tokens
    are on disk, so that memory does not grow with the answers.

    Raises:
        UserError: the file is missing, broken or empty, a row lacks a field, two have one id, or none fits
            max_length.
    """
    found = Counter[str]()
    sequences = Spilled(_usable(path, renderer, teacher, config, found), _pack, _unpack)
    counts = SequenceCounts(num_sequences=len(sequences), **found)
    number = len(sequences) + counts.dropped_empty + counts.dropped_overlong
    if counts.dropped_empty == number:
        raise UserError(
            f"teacher answers: none of {counted(number, 'answer')} in {path} has a token; use another teacher"
        )
    if not sequences:
        raise UserError(
            f"max_length={config.max_length}: none of {counted(number, 'sequence')} of {path} fits; "
            "raise --max_length or set --overlong cut"
        )
    _check_ids(sequences, path)
    return sequences, counts


def _check_ids(sequences: Sequence[TrainingSequence], path: Path) -> None:
    """Refuse two answers under one id: KD would give both the teacher's signals of one."""
    if repeated := Ids(sequence.id for sequence in sequences).repeated():
        id_ = shown(sequences[repeated[0][0]].id)
        raise UserError(
            f"teacher answers: id={id_}: is the id of two rows of {path}; run the generate stage again "
            "(--run_generate --force)"
        )


def _usable(
    path: Path, renderer: ChatRenderer, teacher: ChatRenderer | None, config: ExperimentConfig, counts: Counter[str]
) -> Iterator[TrainingSequence]:
    """The sequences that can be trained on; `counts` gets what `SequenceCounts` says of all rows."""
    for row in _rows(path):
        sequence = _render(row, renderer, teacher, path)
        if not sequence.num_response_tokens:
            counts["dropped_empty"] += 1
            continue
        if len(sequence.input_ids) > config.max_length:
            sequence = sequence.cut(config.max_length)
            if config.overlong == "drop" or not sequence.num_response_tokens:
                counts["dropped_overlong"] += 1
                continue
            counts["cut_overlong"] += 1
        counts["tokenised_text"] += written_ids(row, renderer) is None
        counts["num_tokens"] += sequence.num_response_tokens
        yield sequence


def _rows(path: Path) -> Iterator[Row]:
    try:
        yield from (row for _, row in each_row(path, strict=False))
    except (OSError, ValueError) as error:
        raise UserError(f"teacher answers: {error}") from error


def _pack(sequence: TrainingSequence) -> bytes:
    """Names and lengths as a line, then the tokens, of which the counted labels are the last ones."""
    ids, theirs = sequence.input_ids, sequence.teacher_input_ids or []
    ignored = sequence.labels.count(IGNORE_INDEX)
    assert sequence.labels[ignored:] == ids[ignored:]
    head = json.dumps([sequence.id, sequence.item, len(ids), ignored]).encode()
    return head + b"\n" + array("i", ids + theirs).tobytes()


def _unpack(packed: bytes) -> TrainingSequence:
    head, _, tokens = packed.partition(b"\n")
    id_, item, length, ignored = json.loads(head)
    numbers = array("i", tokens).tolist()
    ids, theirs = numbers[:length], numbers[length:] or None
    return TrainingSequence(id_, ids, [IGNORE_INDEX] * ignored + ids[ignored:], theirs, item)


def hold_out(
    sequences: Sequence[TrainingSequence], counts: SequenceCounts, config: ExperimentConfig
) -> tuple[Sequence[TrainingSequence], Sequence[TrainingSequence], SequenceCounts]:
    """The sequences to train on, config.heldout_answers held-out ones (at most one in 20), and the updated counts.

    An item is held out with all its answers; the loss is tracked on the first that fits. Held-out items are spread
    evenly over the file, and so over the domains. They are the same for SFT and KD, so a student that KD takes over
    from SFT has not seen them either.
    """
    items = list(dict.fromkeys(sequence.item or sequence.id for sequence in sequences))
    number = min(config.heldout_answers, len(items) // HELD_OUT_OF)
    held = {items[(2 * i + 1) * len(items) // (2 * number)] for i in range(number)}
    waiting = set(held)  # for the first answer that is left; a longer one may have been dropped
    trained, held_out, tokens = array("q"), array("q"), 0
    for place, sequence in enumerate(sequences):
        item = sequence.item or sequence.id
        if item not in held:
            trained.append(place)
            tokens += sequence.num_response_tokens
        elif item in waiting:
            waiting.remove(item)
            held_out.append(place)
    counts = replace(counts, num_sequences=len(trained), held_out=len(held_out), num_tokens=tokens)
    return chosen(sequences, trained), chosen(sequences, held_out), counts


def render_answer(
    row: Mapping[str, Any], renderer: ChatRenderer, teacher: ChatRenderer | None = None
) -> TrainingSequence:
    """The sequence of one row of answers or predictions: the prompt, then the teacher's answer.

    Raises:
        KeyError: the row lacks a field.
    """
    messages, answer = row["messages"], written_ids(row, renderer)
    if answer is None:
        answer = renderer.answer_ids(messages, row["response"], finished=row["finish_reason"] == "stop")
    else:
        answer = [*renderer.thought_before(row["response"]), *answer]
    ours = renderer.sequence(messages, answer)
    theirs = ours if teacher is None else teacher.sequence(row.get("teacher_messages", messages), answer)
    other = None if theirs.input_ids == ours.input_ids else theirs.input_ids
    return TrainingSequence(row["id"], ours.input_ids, ours.labels, other, row.get("item"))


def as_the_teacher_reads(sequences: Sequence[TrainingSequence]) -> Sequence[TrainingSequence]:
    """`for_teacher` of each sequence, when it is asked for."""
    return Made(len(sequences), lambda n: sequences[n].for_teacher())


def written_ids(row: Mapping[str, Any], renderer: ChatRenderer) -> list[int] | None:
    """The tokens that the teacher generated; None if the row holds only text, or a token that the student lacks."""
    ids: list[int] | None = row.get("token_ids")
    return ids if ids is not None and renderer.knows(ids) else None


def _render(
    row: Mapping[str, Any], renderer: ChatRenderer, teacher: ChatRenderer | None, path: Path
) -> TrainingSequence:
    try:
        return render_answer(row, renderer, teacher)
    except KeyError as error:
        raise UserError(
            f"{path}: the row {row.get('id', '(no id)')!r} has no field {error}; generate the answers again"
        ) from None


class SequenceDataset(Dataset[dict[str, Any]]):
    """Sequences and, for KD from stored signals, the teacher's signals at their response tokens."""

    def __init__(self, sequences: Sequence[TrainingSequence], signals: Mapping[str, Signals] | None = None) -> None:
        self.sequences = sequences
        self.signals = signals

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sequence. The index one past the last gives a sequence without counted labels, which completes a batch."""
        if index == len(self.sequences):
            return self._filling()
        sequence = self.sequences[index]
        item: dict[str, Any] = {"input_ids": sequence.input_ids, "labels": sequence.labels}
        if self.signals is not None:
            return item | {"signals": self.signals[sequence.id]}
        return item if sequence.teacher_input_ids is None else item | {"for_teacher": sequence.for_teacher()}

    def _filling(self) -> dict[str, Any]:
        first = self[0]
        item = {"input_ids": first["input_ids"][:1], "labels": [IGNORE_INDEX]}
        no_rows = {name: rows[:0] for name, rows in first.get("signals", {}).items()}
        return item | {"signals": no_rows} if no_rows else item


@dataclass(frozen=True)
class Collator:
    """Makes one batch of sequences and shifts their labels: labels_BT[b, t] is the token after position t.

    Padded: each row is one sequence. Packed: one row holds all sequences, and position ids that restart at 0, without
    an attention mask, tell the model to keep them apart. Signals are joined along N in the order of
    `hidden_BTH[labels_BT != IGNORE_INDEX]`. If an online teacher reads other prompts, its own batch is included.
    """

    pad_token_id: int
    padding_side: Literal["left", "right"] = "right"
    packed: bool = False

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """One batch: input_ids, position_ids, labels and, padded, attention_mask (all [B, T]); teacher_* ([N, ...])."""
        batch = self._rectangles([(item["input_ids"], item["labels"]) for item in items])
        if "signals" in items[0]:
            for name in items[0]["signals"]:
                batch[TEACHER_PREFIX + name] = torch.cat([item["signals"][name] for item in items])
        if any("for_teacher" in item for item in items):
            read = [item.get("for_teacher") for item in items]
            pairs = [
                (s.input_ids, s.labels) if s else (i["input_ids"], i["labels"])
                for s, i in zip(read, items, strict=True)
            ]
            batch |= {TEACHER_PREFIX + name: tensor for name, tensor in self._rectangles(pairs).items()}
        return batch

    def _rectangles(self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Tensor]:
        """The padded tensors of sequences given as tokens and labels."""
        rows = {
            "input_ids": [list(tokens) for tokens, _ in sequences],
            "position_ids": [list(range(len(tokens))) for tokens, _ in sequences],
            "labels": [shift(labels) for _, labels in sequences],
        }
        return self._pack(rows) if self.packed else self._pad(rows)

    def _pack(self, rows: Mapping[str, list[list[int]]]) -> dict[str, Tensor]:
        return {name: torch.tensor([list(chain.from_iterable(parts))]) for name, parts in rows.items()}

    def _pad(self, rows: Mapping[str, list[list[int]]]) -> dict[str, Tensor]:
        fill = {"input_ids": self.pad_token_id, "position_ids": 0, "labels": IGNORE_INDEX, "attention_mask": 0}
        mask = [[1] * len(row) for row in rows["input_ids"]]
        return {name: self._rectangle(parts, fill[name]) for name, parts in {**rows, "attention_mask": mask}.items()}

    def _rectangle(self, rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        width = max(len(row) for row in rows)
        padding = [[fill] * (width - len(row)) for row in rows]
        left = self.padding_side == "left"
        return torch.tensor([[*pad, *row] if left else [*row, *pad] for row, pad in zip(rows, padding, strict=True)])


def shift(labels: Sequence[int]) -> list[int]:
    """Labels moved one place to the left: labels[t] becomes the token that the hidden state at t predicts."""
    return [*labels[1:], IGNORE_INDEX]
