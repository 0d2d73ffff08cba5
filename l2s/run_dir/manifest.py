"""What a finished stage leaves behind, and the fingerprints by which a changed file is noticed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from l2s.durable import make_folder
from l2s.errors import UserError, shown
from l2s.jsonl import require_file
from l2s.metrics import StageMetrics
from l2s.sealed import read_sealed, write_sealed

WHOLE_FILE_BYTES = 64 << 20  # larger files are sampled: a 16 GB model must not delay a dry run
SAMPLES = 64
MOST_SECONDS = 1e10  # three hundred years


@dataclass(frozen=True)
class Manifest:
    """The inputs and results of a finished stage; written last, so its presence means that the stage is complete."""

    stage: str
    config: dict[str, Any]  # configuration fields that the stage reads -> their values
    inputs: dict[str, str]  # path relative to the run folder, or model name -> fingerprint
    outputs: dict[str, str]
    versions: dict[str, str]
    git_commit: str | None
    seed: int
    device: str
    started_at: str  # ISO 8601, UTC
    seconds: float
    metrics: StageMetrics = field(default_factory=StageMetrics)
    machine: dict[str, Any] = field(default_factory=dict)  # from l2s.devices.describe_machine
    dtype_reason: str | None = None  # why the stage used the dtype of `config`; None for stages that use none

    def save(self, path: Path) -> None:
        """Write the manifest atomically."""
        make_folder(path.parent)
        write_sealed(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Manifest | None:
        """The manifest at `path`, or None if the stage never finished.

        Raises:
            UserError: it is damaged.
        """
        try:
            return _checked(cls(**read_sealed(path)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}: the record of a finished stage is damaged ({error}); remove it, and the same command runs "
                "that stage again"
            ) from None


def _checked(manifest: Manifest) -> Manifest:
    """The manifest, if its fields have their types: it may have been edited, or come from somebody else.

    Raises:
        TypeError: names the first field that has not.
    """
    kinds: dict[str, Any] = {"stage": str, "device": str, "started_at": str, "seconds": int | float}
    kinds |= dict.fromkeys(("config", "inputs", "outputs", "versions", "metrics", "machine"), dict)
    for name, kind in kinds.items():
        if not isinstance(getattr(manifest, name), kind):
            raise TypeError(f"{name} is {shown(getattr(manifest, name))}")
    if not 0 <= manifest.seconds < MOST_SECONDS:
        raise TypeError(f"seconds is {shown(manifest.seconds)}")
    return manifest


def fingerprint(path: Path) -> str:
    """sha256 that changes when the content of a file or folder changes.

    The fingerprint of a folder covers its files' relative names and fingerprints. For a file above 64 MB it covers the
    size and 64 evenly spaced samples of 64 KiB: a replaced checkpoint is noticed, a single flipped bit may not be.

    Raises:
        OSError: it cannot be read, or is a pipe or a device; in a folder these do not count.
    """
    if path.is_dir():
        lines = [
            f"{file.relative_to(path)} {fingerprint(file)}\n" for file in sorted(path.rglob("*")) if file.is_file()
        ]
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    require_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for index in range(SAMPLES):
            file.seek(index * (size - (1 << 16)) // (SAMPLES - 1))
            digest.update(file.read(1 << 16))
    return digest.hexdigest()
