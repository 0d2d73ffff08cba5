"""A folder of teacher signals on disk: its index, its shards, and what they were recorded for.

It holds shards of rows (one row for each response token), an index of which rows belong to which answer, and the
tensors that all rows share: the teacher's output head for hidden states, the model of the tail for topk. The index
holds the sha256 of every file.

Shapes: N rows, H hidden size of the teacher, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype
from l2s.durable import remove
from l2s.errors import UserError
from l2s.loss.logit_transform import LogitTransform
from l2s.on_disk import Ids
from l2s.run_dir import SIGNAL_INDEX, SIGNALS_SHARED, RunDir
from l2s.sealed import read_sealed, write_sealed
from l2s.sequences import Signals, TrainingSequence, as_the_teacher_reads

FORMAT = 2  # version of the files; increased when older files can no longer be read

UNREADABLE = "damaged: it cannot be read"

SignalKind = Literal["hidden", "topk"]


@dataclass(frozen=True)
class SignalSource:
    """What a folder of signals was recorded from; the signals are valid for exactly this source."""

    kind: SignalKind
    teacher: str
    quantization: str
    render_hash: str
    sequences_hash: str
    dtype: str
    topk: int | None = None
    temperature: float | None = None  # None for hidden states, which serve every temperature

    def digest(self) -> str:
        """sha256 of all fields and of the file format."""
        return hashlib.sha256(json.dumps(asdict(self) | {"format": FORMAT}, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Shard:
    """A file of rows; rows starts[i] to starts[i + 1] belong to ids[i]."""

    file: str
    sha256: str
    ids: list[str]
    starts: list[int]  # one more than ids; the last is the number of rows
    origin: str  # digest of the SignalSource, and sha256 of what all rows shared when they were encoded


@dataclass(frozen=True)
class SignalIndex:
    """The index of a folder of signals. It is written last: if it exists, the folder is complete."""

    source: SignalSource
    shards: list[Shard]
    shared_sha256: str
    transform: LogitTransform  # logit transform of the teacher's head
    sample_ids: list[str]  # sequences with exact logits, to check topk, in order
    vocabulary: int | None  # number of ids that topk counts

    def save(self, folder: Path) -> None:
        """Write the index atomically."""
        write_sealed(folder / SIGNAL_INDEX, asdict(self) | {"format": FORMAT})

    @classmethod
    def load(cls, folder: Path) -> SignalIndex:
        """Read the index of `folder`.

        Raises:
            UserError: recording has not finished, the format is another one, or the index is damaged.
        """
        try:
            raw = read_sealed(folder / SIGNAL_INDEX)
        except FileNotFoundError:
            raise UserError(f"{folder}: holds no finished teacher signals; run the score stage (--run_score)") from None
        except ValueError:
            raise _damaged(folder, SIGNAL_INDEX, UNREADABLE) from None
        if raw.get("format") != FORMAT:
            raise UserError(
                f"{folder}: these teacher signals are of format {raw.get('format', 1)}, this version of l2s reads "
                f"{FORMAT}; run the score stage again (--run_score --force)"
            )
        try:
            shards = [Shard(**shard) for shard in raw["shards"]]
            transform = LogitTransform(**raw["transform"])
            rest = {name: part for name, part in raw.items() if name not in ("format", "shards", "transform", "source")}
            return cls(SignalSource(**raw["source"]), shards, transform=transform, **rest)
        except (KeyError, TypeError):
            raise _damaged(folder, SIGNAL_INDEX, UNREADABLE) from None


def signal_source(
    config: ExperimentConfig, teacher: ChatRenderer, sequences: Sequence[TrainingSequence]
) -> SignalSource:
    """The source of the training signals that `config` asks for; `teacher` renders the teacher's prompts."""
    kind: SignalKind = "topk" if config.teacher_signal == "topk" else "hidden"
    return SignalSource(
        kind=kind,
        teacher=config.teacher_model,
        quantization=config.teacher_quantization,
        dtype=choose_dtype(config).name,
        render_hash=teacher.hash(),
        sequences_hash=hash_sequences(as_the_teacher_reads(sequences)),
        topk=config.topk if kind == "topk" else None,
        temperature=config.temperature if kind == "topk" else None,
    )


def hash_sequences(sequences: Sequence[TrainingSequence]) -> str:
    """sha256 of ids, tokens and labels; the order of the sequences does not matter, because each has its own id."""
    names = [json.dumps(item.id) for item in sequences]
    digest, between = hashlib.sha256(), b""
    for number in sorted(range(len(names)), key=names.__getitem__):
        item = sequences[number]
        digest.update(between + json.dumps([item.id, item.input_ids, item.labels]).encode())
        between = b"\n"
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of all bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SignalStore(Mapping[str, Signals]):
    """The signals of a folder by response id; rows are read from memory-mapped files on access.

    Memory: the index, and 16 bytes a response.
    """

    def __init__(self, folder: Path, index: SignalIndex) -> None:
        self.folder = folder
        self.index = index
        self._ids = Ids(id_ for shard in index.shards for id_ in shard.ids)
        self._firsts = [0, *accumulate(len(shard.ids) for shard in index.shards)]  # number of each shard's first id
        self._files: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return (id_ for shard in self.index.shards for id_ in shard.ids)

    def __getitem__(self, id_: str) -> Signals:
        number = self._ids.find(id_)
        if number is None:
            raise KeyError(id_)
        place = bisect_right(self._firsts, number) - 1
        shard, row = self.index.shards[place], number - self._firsts[place]
        start, end = shard.starts[row], shard.starts[row + 1]
        file = self._open(shard.file)
        return {key: file.get_slice(key)[start:end] for key in file.keys()}  # noqa: SIM118 (not a dict)

    def _open(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = safe_open(self.folder / name, framework="pt")
        return self._files[name]

    def shared(self) -> dict[str, Tensor]:
        """The tensors that all rows share; see `l2s.signals.recorders`."""
        return load_file(self.folder / SIGNALS_SHARED)


def read_signals(folder: Path) -> SignalStore:
    """Open a folder of signals after checking every file against the index.

    Raises:
        UserError: there are none, or a file differs from what was recorded; the message names the file. The index is
            then removed, so that the next run of the score stage records that file again.
    """
    index = SignalIndex.load(folder)
    expected = {shard.file: shard.sha256 for shard in index.shards} | {SIGNALS_SHARED: index.shared_sha256}
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file() or hash_file(path) != sha256:
            raise _damaged(folder, name, "damaged: its sha256 is not the recorded one" if path.exists() else "missing")
    return SignalStore(folder, index)


def _damaged(folder: Path, name: str, state: str) -> UserError:
    """The error for a damaged file; removes the index, so that the folder counts as unfinished."""
    remove(folder / SIGNAL_INDEX)
    return UserError(
        f"{folder / name}: this file of teacher signals is {state}; the same command again records only this file"
    )


def check_source(folder: Path, found: SignalSource, wanted: SignalSource) -> None:
    """Refuse signals that were recorded for another source.

    Raises:
        UserError: names the first field in which `found` differs from `wanted`.
    """
    hashes = {"sequences_hash": "other answers, or cut elsewhere", "render_hash": "another tokenizer or chat template"}
    for name, value in asdict(wanted).items():
        if (other := getattr(found, name)) != value:
            difference = f"that of {hashes[name]}" if name in hashes else f"{other!r}, this run has {value!r}"
            raise UserError(
                f"{folder}: these signals were recorded with {name}={difference}; run the score stage again "
                "(--run_score --force)"
            )


def open_training_signals(
    config: ExperimentConfig, run_dir: RunDir, teacher: ChatRenderer, sequences: Sequence[TrainingSequence]
) -> SignalStore:
    """The signals of this experiment, checked to be complete and to belong to these sequences.

    Raises:
        UserError: they are missing, damaged, or were recorded for another source.
    """
    index = SignalIndex.load(run_dir.teacher_signals)
    check_source(run_dir.teacher_signals, index.source, signal_source(config, teacher, sequences))
    return read_signals(run_dir.teacher_signals)
