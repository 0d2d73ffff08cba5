"""Stage `prepare`: the training and the evaluation dataset, deterministic in the seed."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from pathlib import Path

from l2s.config import ExperimentConfig
from l2s.durable import make_folder, replacing_file
from l2s.errors import UserError, shown
from l2s.jsonl import write_jsonl
from l2s.metrics import PrepareMetrics
from l2s.run_dir import RunDir
from l2s.tasks.contamination import duplicates, repeats
from l2s.tasks.table import TASKS, task_of, tasks_of
from l2s.tasks.task import Split
from l2s.tasks.types import Item
from l2s.warning import Warned, warned

REPEATED: dict[Split, str] = {"train": "repeated_train", "eval": "repeated_eval"}


def run(config: ExperimentConfig, run_dir: RunDir) -> PrepareMetrics:
    """Write train_dataset.jsonl and eval_dataset.jsonl to the run folder and publish copies in processed_dir.

    The run reads its own copies, so another experiment with other sizes does not change them. The metrics hold the
    scores of answers without understanding on the evaluation items; the report shows them beside the models.
    """
    tasks = tasks_of(config).values()
    train = [item for task in tasks for item in task.train_items(config)]
    evaluation = [item for task in tasks for item in task.eval_items(config)]
    _check_ids(train, evaluation)
    _say_overlap(train, evaluation)
    make_folder(run_dir.train_data.parent)
    for path, items in ((run_dir.train_data, train), (run_dir.eval_data, evaluation)):
        write_jsonl(path, items)
        _publish(path, config)
        print(f"{path.name}: {len(items)} rows {dict(Counter(item['domain'] for item in items))}")
    return {
        "train": _counts(train),
        "eval": _counts(evaluation),
        "controls": _controls(evaluation),
        "warnings": [*_repeated("train", train), *_repeated("eval", evaluation)],
    }


def _repeated(split: Split, items: list[Item]) -> list[Warned]:
    """Warnings of the user's own rows that repeat each other. Other sources are as their makers publish them."""
    own = [item for item in items if task_of(item["domain"]) is TASKS["own"]]
    warnings = []
    for domain, found in repeats(own).items():
        n = sum(item["domain"] == domain for item in own)
        for key, pairs in ((REPEATED[split], found.pairs), ("contradicting", found.contradicting)):
            if pairs:
                example = " = ".join(pairs[0])
                warnings.append(warned(key, domain=domain, found=len(pairs), n=n, example=example))
    return warnings


def _say_overlap(train: list[Item], evaluation: list[Item]) -> None:
    """Print at once what the report will warn of: evaluation items that students are trained on."""
    for task in TASKS.values():
        parts = [[item for item in items if task_of(item["domain"]) is task] for items in (train, evaluation)]
        if found := duplicates(*parts):
            pair = " = ".join(found[0])
            print(f"{task.name}: {len(found)} of {len(parts[1])} evaluation items are training items ({pair})")


def _publish(path: Path, config: ExperimentConfig) -> None:
    try:
        make_folder(config.processed_dir)
        with replacing_file(config.processed_dir / path.name) as partial:
            shutil.copyfile(path, partial)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"processed_dir={str(config.processed_dir)!r}: cannot write there ({error.strerror}); "
            "choose another --processed_dir"
        ) from None


def _controls(evaluation: list[Item]) -> dict[str, dict[str, float]]:
    """The scores of each domain's controls on its items."""
    asked = {name: [item for item in evaluation if item["domain"] == name] for name in TASKS}
    return {
        name: task.controls(asked[name]) for name, task in TASKS.items() if task.controls is not None and asked[name]
    }


def _counts(items: list[Item]) -> dict[str, int]:
    """Number of rows by `domain/source`; counts always show a synthetic source."""
    return dict(Counter(f"{item['domain']}/{item['source']}" for item in items))


def _check_ids(train: list[Item], evaluation: list[Item]) -> None:
    for items in (train, evaluation):
        double = [name for name, count in Counter(item["id"] for item in items).items() if count > 1]
        if double:
            raise UserError(
                f"two items share the id {shown(double[0])}: ids name answers and must be unique; "
                "rename it in your own data"
            )
