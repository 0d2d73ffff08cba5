"""The processes of one torchrun: which of them this is, and waiting for the others.

A process alone is the first of one and has nobody to wait for.
"""

from __future__ import annotations

import os
from datetime import timedelta

from l2s.config import ExperimentConfig

PATIENCE = timedelta(hours=12)  # one process merges and saves a large model while the others wait


def process_rank() -> int:
    """The number of this process; the first one, 0, writes what is written once."""
    return int(os.environ.get("RANK", 0))


def process_count() -> int:
    """How many processes share the work."""
    return int(os.environ.get("WORLD_SIZE", 1))


def wait_for_others(config: ExperimentConfig) -> None:
    """Return when every process has come here."""
    if process_count() > 1:
        from accelerate import PartialState

        from l2s.models import pick_device

        PartialState(cpu=pick_device(config).type == "cpu", timeout=PATIENCE).wait_for_everyone()


def leave_others() -> None:
    """Take leave at the end of a process."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()
