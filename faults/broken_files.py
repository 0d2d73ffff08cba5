"""Damages every file that a finished experiment is read from, and looks what its readers make of it.

A tiny experiment is built once. A case copies one of its files, damages the copy (cut, flipped bytes, a hole of zeros,
emptied, a folder in its place) and calls what reads it. The damage must be detected, by an error of one line that names
the file and what to do, or harmless: the reader gives what it gives of the whole file.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.finished import Finished, build
from faults.readers import READERS, Reader, quietly
from l2s.durable import WriteError
from l2s.errors import UserError
from l2s.runner.disk_space import explain_run

REMEDIES = (
    "must be", "remove", "run ", "put ", "repair", "give ", "save ", "write ", "copy ", "add ", "the same command",
    "make ", "choose", "set ", "leave",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file of a reader, and how it is damaged; the seed decides where."""

    reader: Reader
    file: Path  # relative to the experiment's folder
    damage: str
    seed: int


@dataclass
class Tally:
    """What became of the cases of one reader."""

    tried: int = 0
    detected: int = 0
    harmless: int = 0
    lost: list[str] = field(default_factory=list)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file up to a random byte."""
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One to eight bytes are others."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(data))] ^= rng.randint(1, 255)
    return bytes(changed)


def hole(data: bytes, rng: random.Random) -> bytes:
    """Zeros from a random byte to the end: a block that a crash of the machine left unwritten."""
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": cut,
    "flipped bytes": flip,
    "hole of zeros": hole,
    "emptied": lambda data, rng: b"",
}
FOLDER = "a folder"
ONCE = (FOLDER, "emptied")  # they have no random place


def make_cases(finished: Finished, number: int, seed: int) -> list[Case]:
    """About `number` cases, and more where every file in every damage needs more."""
    places = [(reader, file) for reader in READERS for file in reader.files(finished)]
    cases = [Case(reader, file, damage, seed) for reader, file in places for damage in ONCE]
    random_damages = [damage for damage in DAMAGES if damage not in ONCE]
    repeats = max(1, -(-(number - len(cases)) // (len(places) * len(random_damages))))
    cases += [
        Case(reader, file, damage, seed + repeat)
        for reader, file in places
        for damage in random_damages
        for repeat in range(repeats)
    ]
    return cases


def try_cases(finished: Finished, cases: Sequence[Case]) -> dict[str, Tally]:
    """Each case in turn; by reader and damage."""
    whole: dict[str, Any] = {}
    tallies: dict[str, Tally] = {}
    for case in cases:
        touched = case.reader.touched
        if case.reader.name not in whole:
            with finished.mended_after(touched):
                whole[case.reader.name] = quietly(case.reader.read, finished)
        tally = tallies.setdefault(case.reader.name, Tally())
        tally.tried += 1
        with finished.mended_after(touched):
            verdict = _verdict(case, finished, whole[case.reader.name])
        if verdict == "detected":
            tally.detected += 1
        elif verdict == "harmless":
            tally.harmless += 1
        else:
            tally.lost.append(f"{case.file}, {case.damage}, seed {case.seed}: {verdict}")
    return tallies


def _verdict(case: Case, finished: Finished, whole: Any) -> str:
    _damage(finished.folder / case.file, case)
    try:
        found = quietly(case.reader.read, finished)
    except UserError as error:
        return _judge_message(str(error), case)
    except WriteError as error:  # a folder in place of a log; the command line makes one line of it
        return _judge_message(explain_run(error), case)
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"[:300]
    if case.reader.users or case.reader.same(found, whole, finished):
        return "harmless"
    return "another result, and nobody noticed"


def _damage(file: Path, case: Case) -> None:
    if case.damage == FOLDER:
        file.unlink()
        file.mkdir()
    else:
        data = file.read_bytes()
        rng = random.Random(f"{case.file} {case.damage} {case.seed}")
        file.write_bytes(DAMAGES[case.damage](data, rng))


def _judge_message(message: str, case: Case) -> str:
    names = {case.file.name, case.file.stem, *(part.name for part in case.file.parents if part.name)}
    if "\n" in message.strip():
        return f"a message of several lines: {message!r}"[:300]
    if not any(name in message for name in names):
        return f"a message that does not name the file: {message}"[:300]
    if not any(remedy in message for remedy in REMEDIES):
        return f"a message without a remedy: {message}"[:300]
    return "detected"


def run(parent: Path, number: int, seed: int = 0) -> dict[str, Tally]:
    """Build the experiment in `parent`, and try at least `number` cases on it."""
    finished = build(parent)
    return try_cases(finished, make_cases(finished, number, seed))
