"""When blows fall: in the order in which the stages of an unbroken run began, and never in one that is done."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faults.experiment import Experiment
from faults.moments import Moments, spread

ORDER = ("prepare", "generate", "evaluate_teacher", "sft", "report")


def logged(folder: Path, *events: tuple[str, str]) -> Experiment:
    """An experiment whose log says that stages have begun and ended."""
    experiment = Experiment(folder)
    experiment.run_dir.root.mkdir(parents=True)
    rows = [{"event": event, "stage": stage} for event, stage in events]
    experiment.run_dir.log_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return experiment


def test_blows_follow_the_order_in_which_stages_began(tmp_path: Path) -> None:
    unbroken = logged(tmp_path, *(("stage_start", name) for name in ORDER), ("stage_end", "report"))
    assert spread(5, unbroken) == list(ORDER)
    assert spread(10, unbroken) == [name for name in ORDER for _ in range(2)]


def test_a_blow_waits_for_its_stage_or_for_the_next_that_is_not_done(tmp_path: Path) -> None:
    unbroken = logged(tmp_path / "unbroken", *(("stage_start", name) for name in ORDER))
    hit = logged(tmp_path / "hit", ("stage_start", "sft"))
    for name in ORDER[:3]:
        manifest = hit.run_dir.manifest(name)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
    polls: list[int] = []
    process: Any = SimpleNamespace(poll=lambda: polls.append(1) if len(polls) < 50 else 1)  # ends if nobody strikes
    Moments(["evaluate_teacher"], unbroken, random.Random(0)).wait(process, hit)
    assert 0 < len(polls) < 50
