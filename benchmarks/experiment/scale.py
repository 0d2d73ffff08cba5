"""What the experiment is made of, in its full size and in a short form that shows that every step works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from l2s.presets import DEMO_BASE

SETTINGS: dict[str, Any] = {
    "domains": "own",
    "own_grader": "number",
    "system_prompt": "Solve.",
    "dtype": "float32",
    "tuning": "full",
    "gradient_checkpointing": False,
    "gradient_accumulation_steps": 1,
    "sft_batch_size": 8,
    "kd_batch_size": 8,
    "max_new_tokens": 48,
    "max_length": 256,
    "save_steps": 1000,  # a training takes minutes, and a checkpoint 1.6 GB
    "generation_batch_size": 100,
    "eval_batch_size": 100,
    "fidelity_size": 60,
}


@dataclass(frozen=True)
class Scale:
    """A size of the experiment.

    Attributes:
        base: model that becomes the expert; empty: a tiny random one.
        dropped: layers of the expert that the student lacks.
        problems: number of problems in each file.
        rates, temperatures, alphas: values to choose from; the first wins a tie.
        seeds: seeds of the final comparison; a report follows each value.
        epochs: of SFT and of KD.
        settings: of every run.
        curation: which of the teacher's answers the students learn from.
        opd: settings of OPD.
    """

    base: str
    dropped: tuple[int, ...]
    problems: Mapping[str, int]
    rates: tuple[float, ...]
    temperatures: tuple[float, ...]
    alphas: tuple[float, ...]
    seeds: tuple[str, ...]
    epochs: int
    settings: Mapping[str, Any]
    curation: Mapping[str, Any]
    opd: Mapping[str, Any]


FULL = Scale(
    base=DEMO_BASE,
    dropped=(2, 12, 22),  # of 30 layers: enough to lose nearly all of the score
    problems={"expert": 640, "student": 160, "selection": 200, "final": 320},
    rates=(1e-4, 5e-5),
    temperatures=(1.0, 2.0, 3.0),
    alphas=(0.0, 0.3, 0.5),
    seeds=("1", "1,2", "1,2,3"),
    epochs=2,
    settings=SETTINGS,
    curation={"keep_correct": True, "max_tries": 2},
    opd={"opd_steps": 1000, "opd_batch_size": 2, "opd_lr": 3e-5, "opd_max_new_tokens": 48, "save_steps": 100},
)
SHORT = Scale(
    base="",
    dropped=(1,),
    problems={"expert": 16, "student": 8, "selection": 5, "final": 6},
    rates=(1e-4,),
    temperatures=(1.0, 2.0),
    alphas=(0.0, 0.5),
    seeds=("1", "1,2"),
    epochs=1,
    settings=SETTINGS | {"sft_batch_size": 4, "kd_batch_size": 4, "max_new_tokens": 8, "max_length": 1024},
    curation={"keep_correct": False},  # a tiny random model is never right
    opd={"opd_steps": 2, "opd_batch_size": 2, "opd_lr": 1e-4, "opd_max_new_tokens": 8},
)
