"""Reads the files of a run folder that the report is made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from l2s.arms import ARMS, MODELS
from l2s.config import ExperimentConfig
from l2s.jsonl import Row, load_jsonl
from l2s.run_dir import Manifest, RunDir
from l2s.tasks.types import Item

STAGES = (
    "prepare", "generate", "score", *ARMS, *(f"evaluate_{model}" for model in MODELS),
    *(f"lm_eval_{model}" for model in MODELS),
)  # fmt: skip


@dataclass(frozen=True)
class RunFiles:
    """The parsed files of one run. A missing file is an empty list, or absent from its dict.

    Attributes:
        predictions: model -> rows in the order of the evaluation items; only models that were evaluated.
        fidelity: model -> one row for each of the teacher's evaluation answers.
        manifests: finished stage -> manifest, in the order of the pipeline.
        curves: arm -> logged steps.
        heldout_curves: arm -> loss on held-out answers at some of these steps.
        lm_eval: model -> the results of lm-evaluation-harness.
    """

    config: ExperimentConfig
    root: Path
    train: list[Item]
    eval: list[Item]
    predictions: dict[str, list[Row]]
    fidelity: dict[str, list[Row]]
    manifests: dict[str, Manifest]
    curves: dict[str, list[Row]]
    heldout_curves: dict[str, list[Row]]
    lm_eval: dict[str, dict[str, Any]]


def read_run(config: ExperimentConfig, run_dir: RunDir) -> RunFiles:
    """Parse the folder.

    Raises:
        ValueError: a file has a broken line; the message names both.
    """
    manifests = {stage: Manifest.load(run_dir.manifest(stage)) for stage in STAGES}
    return RunFiles(
        config=config,
        root=run_dir.root,
        train=cast(list[Item], _rows(run_dir.train_data)),
        eval=cast(list[Item], _rows(run_dir.eval_data)),
        predictions=_present({model: _rows(run_dir.predictions(model)) for model in MODELS}),
        fidelity=_present({model: _rows(run_dir.fidelity(model)) for model in MODELS}),
        manifests={stage: manifest for stage, manifest in manifests.items() if manifest is not None},
        curves=_present({arm: _rows(run_dir.arm(arm).metrics) for arm in ARMS}),
        heldout_curves=_present({arm: _rows(run_dir.arm(arm).heldout_metrics) for arm in ARMS}),
        lm_eval={
            model: json.loads(path.read_text(encoding="utf-8"))
            for model in MODELS
            if (path := run_dir.lm_eval(model)).exists()
        },
    )


def _rows(path: Path) -> list[Row]:
    """The rows of a file that may be missing or empty."""
    return load_jsonl(path) if path.exists() and path.stat().st_size else []


def _present(rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {name: found for name, found in rows.items() if found}
