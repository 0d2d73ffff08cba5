"""Record teacher signals: one forward pass of the teacher over answers, written to disk shard by shard.

Shards are the unit of work. A killed run resumes at the first incomplete shard. The ranks of one torchrun take shards
in turn, after rank 0 has written what all shards share. At the end rank 0 collects the entries of all ranks and writes
the index. It does not look for the other ranks' files, because a network file system may show them late.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from l2s.counted import counted
from l2s.devices import gather_from_all, process_count, process_rank
from l2s.durable import make_folder, remove, replacing_file
from l2s.models.head import Head
from l2s.on_disk import chosen
from l2s.run_dir import SIGNALS_SHARED
from l2s.sealed import read_sealed, write_sealed
from l2s.sequences import TrainingSequence
from l2s.signals.hidden import HiddenStates
from l2s.signals.recorders import Encode, HiddenRecorder, Recorder, TopkRecorder
from l2s.signals.store import (
    Shard,
    SignalIndex,
    SignalSource,
    hash_file,
)

SHARD_ROWS = 65_536  # 256 MB of hidden states at H = 2048: a minute of work to lose, a hundred files at most
BATCH_TOKENS = 8_192  # padded tokens of a forward pass; no logits of a whole batch are made, so activations stay small
SAMPLE_TOKENS = 8_192  # response tokens that topk fits its tail to; a quarter more check it
POLL_SECONDS = 1.0
CHECK_EVERY = 5  # every fifth sequence of the sample checks the fit and is not part of it


@dataclass(frozen=True)
class RecordingResult:
    """What a recording wrote and what it cost."""

    num_sequences: int
    num_tokens: int  # rows
    bytes: int  # of the rows and their shared tensors
    seconds: float  # of this process; work of earlier processes is not counted
    recorded_tokens: int  # rows computed in these seconds


def record_signals(
    hidden: HiddenStates,
    sequences: Sequence[TrainingSequence],
    folder: Path,
    source: SignalSource,
    *,
    vocabulary: int | None = None,
    shard_rows: int = SHARD_ROWS,
) -> RecordingResult:
    """Write the signals of `sequences` to `folder`; complete shards of the same source are kept.

    Under torchrun every rank calls this and writes its share of the shards; the index exists when rank 0 returns. For
    topk, `vocabulary` is the number of ids that teacher and student share.

    Raises:
        UserError: the model cannot be loaded, or computes its logits in a way that signals cannot represent.
    """
    make_folder(folder)
    recorder = _recorder(hidden.head, source, vocabulary)
    shards = plan_shards(sequences, shard_rows)
    fit, check = split_sample(pick_sample(sequences))
    num_tokens = _num_tokens(sequences)
    size = _announce(
        recorder, len(sequences), num_tokens, len(shards), shared=recorder.shared_bytes(_num_tokens(check))
    )
    start = time.monotonic()
    if process_rank() == 0 and _shared_hash(folder, source) is None:
        _write_shared(hidden, recorder, fit, check, folder, source)
    shared_hash = _wait_for_shared(folder, source)
    encode = recorder.encoder(load_file(folder / SIGNALS_SHARED))
    own, recorded = _own_shards(hidden, encode, shards, folder, origin=f"{source.digest()}/{shared_hash}")
    seconds = time.monotonic() - start
    entries = {number: shard for part in gather_from_all(own) for number, shard in part.items()}
    if process_rank() == 0:
        whole = [entries[number] for number in range(len(shards))]
        check_ids = [sequence.id for sequence in check]
        SignalIndex(source, whole, shared_hash, hidden.head.transform, check_ids, vocabulary).save(folder)
    return RecordingResult(len(sequences), num_tokens, size, seconds, recorded)


def _announce(recorder: Recorder, num_sequences: int, num_tokens: int, num_shards: int, *, shared: int) -> int:
    """Print what will be written, and return its size in bytes."""
    size = num_tokens * recorder.bytes_per_row + shared
    if process_rank() == 0:
        print(
            f"teacher signals: {counted(num_sequences, 'sequence')}, {counted(num_tokens, 'response token')} in "
            f"{counted(num_shards, 'shard')}: "
            f"{size / 2**20:,.1f} MiB ({recorder.bytes_per_row:,} bytes a token, and {shared:,} that all share)",
            flush=True,
        )
    return size


def _own_shards(
    hidden: HiddenStates, encode: Encode, shards: list[Sequence[TrainingSequence]], folder: Path, *, origin: str
) -> tuple[dict[int, Shard], int]:
    """Write this rank's missing shards; return its entries by number, and the number of rows written."""
    start, recorded, entries = time.monotonic(), 0, {}
    for number in range(process_rank(), len(shards), process_count()):
        finished = _finished_shard(folder, number, origin)
        if finished is None:
            finished = _write_shard(hidden, encode, shards[number], folder, number, origin)
            recorded += finished.starts[-1]
            speed = recorded / (time.monotonic() - start)
            print(f"shard {number + 1}/{len(shards)}: {speed:,.0f} tokens/s", flush=True)
        entries[number] = finished
    return entries, recorded


def _num_tokens(sequences: Sequence[TrainingSequence]) -> int:
    return sum(sequence.num_response_tokens for sequence in sequences)


def _recorder(head: Head, source: SignalSource, vocabulary: int | None) -> Recorder:
    if source.topk is None or source.temperature is None:
        return HiddenRecorder(head)
    vocabulary = vocabulary or len(head.weight)
    return TopkRecorder(head, source.topk, source.temperature, vocabulary)


def pick_sample(sequences: Sequence[TrainingSequence]) -> list[TrainingSequence]:
    """Evenly spaced sequences with about SAMPLE_TOKENS response tokens for the fit, longest first."""
    fit_tokens = _num_tokens(sequences) * (CHECK_EVERY - 1) // CHECK_EVERY
    ids = [sequence.id for sequence in sequences]
    spread = sorted(range(len(ids)), key=ids.__getitem__)[:: max(1, fit_tokens // SAMPLE_TOKENS)]
    return sorted((sequences[number] for number in spread), key=lambda item: (-len(item.input_ids), item.id))


def split_sample(
    sample: Sequence[TrainingSequence],
) -> tuple[Sequence[TrainingSequence], Sequence[TrainingSequence]]:
    """The sequences to fit and those to check; a single sequence serves for both."""
    check = sample[::CHECK_EVERY]
    fit = [sequence for number, sequence in enumerate(sample) if number % CHECK_EVERY]
    return fit or check, check


def plan_shards(sequences: Sequence[TrainingSequence], shard_rows: int) -> list[Sequence[TrainingSequence]]:
    """Split into shards of at most `shard_rows` rows (or one sequence), longest sequences first.

    Neighbours in length share a batch with little padding, and a batch that is too large for the memory fails at once.
    """
    order = sorted(
        (-len(item.input_ids), item.id, number, item.num_response_tokens) for number, item in enumerate(sequences)
    )
    shards: list[array[int]] = []
    rows = shard_rows
    for _, _, number, its_rows in order:
        if not shards or rows + its_rows > shard_rows:
            shards.append(array("q"))
            rows = 0
        shards[-1].append(number)
        rows += its_rows
    return [chosen(sequences, numbers) for numbers in shards]


def _write_shared(
    hidden: HiddenStates,
    recorder: Recorder,
    fit: Sequence[TrainingSequence],
    check: Sequence[TrainingSequence],
    folder: Path,
    source: SignalSource,
) -> None:
    """Compute and write the tensors that all shards share, then their entry."""
    parts = (hidden.of(_batches(part)) for part in (fit, check))
    _save(recorder.shared(*parts), folder / SIGNALS_SHARED)
    _write_entry({"sha256": hash_file(folder / SIGNALS_SHARED), "source": source.digest()}, folder / SIGNALS_SHARED)


def _write_shard(
    hidden: HiddenStates,
    encode: Encode,
    sequences: Sequence[TrainingSequence],
    folder: Path,
    number: int,
    origin: str,
) -> Shard:
    """Compute and write one shard, then its entry, and return the entry."""
    parts = [encode(hidden_NH) for hidden_NH in hidden.of(_batches(sequences))]
    file = _shard_file(folder, number)
    _save({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, file)
    starts = [0, *accumulate(sequence.num_response_tokens for sequence in sequences)]
    shard = Shard(file.name, hash_file(file), [item.id for item in sequences], starts, origin)
    _write_entry(asdict(shard), file)
    return shard


def _batches(sequences: Sequence[TrainingSequence]) -> Iterator[list[TrainingSequence]]:
    """Groups of consecutive sequences, longest first, whose padded batch has at most BATCH_TOKENS tokens."""
    batch: list[TrainingSequence] = []
    for sequence in sequences:
        if batch and (len(batch) + 1) * len(batch[0].input_ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(sequence)
    yield batch


def _finished_shard(folder: Path, number: int, origin: str) -> Shard | None:
    """The entry of a shard that was made from `origin` and is complete on disk; else None."""
    file = _shard_file(folder, number)
    entry = _read_entry(file)
    whole = entry.get("origin") == origin and file.is_file() and hash_file(file) == entry["sha256"]
    return Shard(**entry) if whole else None


def _shared_hash(folder: Path, source: SignalSource) -> str | None:
    """sha256 of the shared tensors, if they were made from `source` and are complete on disk."""
    file = folder / SIGNALS_SHARED
    entry = _read_entry(file)
    whole = entry.get("source") == source.digest() and file.is_file() and hash_file(file) == entry["sha256"]
    return str(entry["sha256"]) if whole else None


def _wait_for_shared(folder: Path, source: SignalSource) -> str:
    """`_shared_hash`, once rank 0 has written the file. If rank 0 fails, torchrun ends all ranks."""
    while (sha256 := _shared_hash(folder, source)) is None:
        time.sleep(POLL_SECONDS)
    return sha256


def _read_entry(file: Path) -> dict[str, Any]:
    """The entry beside `file`; empty if recording was killed before it was written, or if it is damaged."""
    try:
        return read_sealed(file.with_suffix(".json"))
    except (FileNotFoundError, ValueError):
        return {}


def _write_entry(entry: dict[str, Any], file: Path) -> None:
    path = file.with_suffix(".json")
    _make_way(path)
    write_sealed(path, entry)


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    _make_way(path)
    with replacing_file(path) as partial:
        save_file(tensors, partial)


def _make_way(path: Path) -> None:
    """Remove a folder that stands where a file belongs."""
    if path.is_dir():
        remove(path)
