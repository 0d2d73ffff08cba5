"""Scoring: one forward pass of the teacher over its own answers, kept for every epoch and temperature of KD.

Shards are the unit of work: a killed run goes on at the first shard that is not whole, and processes of one torchrun
take shards in turn without talking to each other; whoever finds all of them done writes the index.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from l2s.chat import check_same_vocabulary, load_renderer
from l2s.config import ExperimentConfig
from l2s.jsonl import write_text_atomic
from l2s.models import load_model, logit_transform, output_head, peak_memory_bytes
from l2s.run_dir import RunDir
from l2s.teacher.signals import (
    SHARED,
    Shard,
    SignalIndex,
    SignalSource,
    hash_file,
    response_hidden,
    signal_source,
)
from l2s.training.dataset import Collator, TrainingSequence, load_sequences

SHARD_ROWS = 65_536  # 256 MB of hidden states at H = 2048: a minute of work to lose, a hundred files at most
BATCH_TOKENS = 8_192  # padded tokens of a forward pass; no logits are made, so activations stay small


class Recorder(Protocol):
    """Turns hidden states of response tokens into the rows that are kept."""

    def rows(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """Tensors on the CPU with N rows each."""

    def bytes_per_row(self) -> int:
        """Size of one row on disk."""

    def shared(self) -> dict[str, Tensor]:
        """What all rows share."""


class HiddenRecorder:
    """Keeps hidden states as they are."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.head_VH = output_head(model).weight

    def rows(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """`hidden` [N, H] in the type of the teacher, so nothing is lost."""
        return {"hidden": hidden_NH.cpu()}

    def bytes_per_row(self) -> int:
        """H numbers."""
        return self.head_VH.shape[1] * self.head_VH.element_size()

    def shared(self) -> dict[str, Tensor]:
        """`head` [V, H], which makes logits of the rows."""
        return {"head": self.head_VH.detach().cpu().contiguous()}


@dataclass(frozen=True)
class ScoreResult:
    """What a scoring wrote and what it cost."""

    num_sequences: int
    num_tokens: int  # rows
    bytes: int
    seconds: float  # of this process; resumed work is not counted
    scored_tokens: int  # rows computed in these seconds


def run(config: ExperimentConfig, run_dir: RunDir) -> dict[str, Any]:
    """Record the teacher's signals on its answers in kd/teacher_signals.

    Raises:
        UserError: no usable answers, another vocabulary, or a teacher that cannot be loaded.
    """
    renderer = load_renderer(config, "student_model")
    check_same_vocabulary(load_renderer(config, "teacher_model"), renderer)
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    model = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
    source = signal_source(config, renderer, sequences)
    result = score_sequences(model, sequences, run_dir.teacher_signals, source)
    speed = result.scored_tokens / result.seconds
    return asdict(result) | {"tokens_per_second": speed, "peak_memory_bytes": peak_memory_bytes(model.device)}


def score_sequences(
    model: PreTrainedModel,
    sequences: Sequence[TrainingSequence],
    folder: Path,
    source: SignalSource,
    *,
    shard_rows: int = SHARD_ROWS,
) -> ScoreResult:
    """Write the signals of `sequences` to `folder`; whole shards of the same source that are there already are kept.

    Under torchrun every process writes its share of the shards.

    Raises:
        UserError: the logits of `model` are made in a way that signals cannot carry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    transform = logit_transform(model)
    recorder = HiddenRecorder(model)
    shards = plan_shards(sequences, shard_rows)
    num_tokens = sum(sequence.num_response_tokens for sequence in sequences)
    size = num_tokens * recorder.bytes_per_row()
    print(f"teacher signals: {len(sequences):,} sequences, {num_tokens:,} response tokens, {size / 2**20:,.1f} MiB "
          f"({recorder.bytes_per_row():,} bytes a token) in {len(shards)} shards", flush=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    start, scored = time.monotonic(), 0
    if rank == 0:
        _save(recorder.shared(), folder / SHARED)
    for number in range(rank, len(shards), world):
        if _finished_shard(folder, number, source) is None:
            scored += _write_shard(model, recorder, shards[number], folder, number, source)
            print(f"shard {number + 1}/{len(shards)}: {scored / (time.monotonic() - start):,.0f} tokens/s", flush=True)
    seconds = time.monotonic() - start
    finished = [_finished_shard(folder, number, source) for number in range(len(shards))]
    if all(finished):
        index = SignalIndex(source, [shard for shard in finished if shard], hash_file(folder / SHARED), transform)
        index.save(folder)
    return ScoreResult(len(sequences), num_tokens, size, seconds, scored)


def plan_shards(sequences: Sequence[TrainingSequence], shard_rows: int) -> list[list[TrainingSequence]]:
    """Split into shards of at most `shard_rows` rows (or one sequence), longest sequences first.

    Neighbours in length share a batch with little padding, and a batch too large for the memory comes at once.
    """
    shards: list[list[TrainingSequence]] = []
    rows = shard_rows
    for sequence in sorted(sequences, key=lambda item: (-len(item.input_ids), item.id)):
        if rows + sequence.num_response_tokens > shard_rows:
            shards.append([])
            rows = 0
        shards[-1].append(sequence)
        rows += sequence.num_response_tokens
    return shards


def _write_shard(
    model: PreTrainedModel,
    recorder: Recorder,
    sequences: Sequence[TrainingSequence],
    folder: Path,
    number: int,
    source: SignalSource,
) -> int:
    """Compute and write one shard, then its entry; returns its rows."""
    collator = Collator(pad_token_id=0)
    parts: list[dict[str, Tensor]] = []
    for batch in _batches(sequences):
        tensors = collator([{"input_ids": item.input_ids, "labels": item.labels} for item in batch])
        hidden_NH = response_hidden(model, {name: tensor.to(model.device) for name, tensor in tensors.items()})
        parts.append(recorder.rows(hidden_NH))
    file = _shard_file(folder, number)
    _save({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, file)
    starts = [0, *accumulate(sequence.num_response_tokens for sequence in sequences)]
    entry = Shard(file.name, hash_file(file), [item.id for item in sequences], starts, source.digest())
    write_text_atomic(file.with_suffix(".json"), json.dumps(asdict(entry)))
    return starts[-1]


def _batches(sequences: Sequence[TrainingSequence]) -> Iterator[list[TrainingSequence]]:
    """Consecutive sequences, longest first, whose padded batch has at most BATCH_TOKENS tokens."""
    batch: list[TrainingSequence] = []
    for sequence in sequences:
        if batch and (len(batch) + 1) * len(batch[0].input_ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(sequence)
    yield batch


def _finished_shard(folder: Path, number: int, source: SignalSource) -> Shard | None:
    """The entry of a shard that was made from `source` and is whole on disk."""
    file = _shard_file(folder, number)
    try:
        shard = Shard(**json.loads(file.with_suffix(".json").read_text()))
    except FileNotFoundError:
        return None
    whole = shard.source == source.digest() and file.exists() and hash_file(file) == shard.sha256
    return shard if whole else None


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial)
    partial.replace(path)
