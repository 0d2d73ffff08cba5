"""A pickle that shows whether anybody unpickled it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from l2s.training.checkpoints import SEAL, seal


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def plant(checkpoint: Path, name: str, mark: Path) -> None:
    """Replace a file of a checkpoint by a payload, and seal the checkpoint as if it had been written so."""
    assert (checkpoint / name).exists()
    torch.save(Payload(mark), checkpoint / name)
    (checkpoint / SEAL).unlink()
    seal(checkpoint)
