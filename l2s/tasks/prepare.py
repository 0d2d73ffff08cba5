"""Stage `prepare`: the training and the evaluation dataset, deterministic in the seed."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.durable import make_folder, replacing_file
from l2s.errors import UserError, shown, shown_path
from l2s.jsonl import write_jsonl
from l2s.metrics import PrepareMetrics
from l2s.on_disk import Ids
from l2s.run_dir import RunDir
from l2s.tasks.contamination import duplicates, repeats
from l2s.tasks.table import TASKS, tasks_of
from l2s.tasks.task import Split
from l2s.tasks.types import Item
from l2s.warning import Warned, warned

Parts: TypeAlias = Mapping[str, Sequence[Item]]  # the items of each domain, by the name of its task
OWN = TASKS["own"].name  # rows that may hold problems of any domain
REPEATED: dict[Split, str] = {"train": "repeated_train", "eval": "repeated_eval"}


def run(config: ExperimentConfig, run_dir: RunDir) -> PrepareMetrics:
    """Write train_dataset.jsonl and eval_dataset.jsonl to the run folder and publish copies in processed_dir.

    The run reads its own copies, so another experiment with other sizes does not change them. The metrics hold the
    scores of answers without understanding on the evaluation items; the report shows them beside the models.
    """
    tasks = tasks_of(config)
    train: Parts = {name: task.train_items(config) for name, task in tasks.items()}
    evaluation: Parts = {name: task.eval_items(config) for name, task in tasks.items()}
    _check_ids(train, evaluation)
    _say_overlap(train, evaluation)
    make_folder(run_dir.train_data.parent)
    for path, parts in ((run_dir.train_data, train), (run_dir.eval_data, evaluation)):
        write_jsonl(path, _all(parts))
        _publish(path, config)
        by_domain = Counter(item["domain"] for item in _all(parts))
        print(f"{path.name}: {counted(by_domain.total(), 'row')} {dict(by_domain)}")
    return {
        "train": _counts(train),
        "eval": _counts(evaluation),
        "controls": _controls(evaluation),
        "warnings": [*_repeated("train", train), *_repeated("eval", evaluation)],
    }


def _all(parts: Parts) -> Iterator[Item]:
    return chain.from_iterable(parts.values())


def _repeated(split: Split, parts: Parts) -> list[Warned]:
    """Warnings of the user's own rows that repeat each other. Other sources are as their makers publish them."""
    own = parts.get(OWN, [])
    warnings = []
    for domain, found in repeats(own).items():
        n = sum(item["domain"] == domain for item in own)
        for key, pairs in ((REPEATED[split], found.pairs), ("contradicting", found.contradicting)):
            if pairs:
                example = " = ".join(pairs[0])
                warnings.append(warned(key, domain=domain, found=len(pairs), n=n, example=example))
    return warnings


def _say_overlap(train: Parts, evaluation: Parts) -> None:
    """Print at once what the report will warn of: evaluation items that students are trained on."""
    for name, items in evaluation.items():
        others = (part for other, part in train.items() if other != name and OWN in (other, name))
        if found := duplicates(chain(train[name], *others), items):
            pair = " = ".join(found[0])
            share = f"{len(found)} of {counted(len(items), 'evaluation item')}"
            print(f"{name}: {share} {'is' if len(found) == 1 else 'are'} in the training data ({pair})")


def _publish(path: Path, config: ExperimentConfig) -> None:
    try:
        make_folder(config.processed_dir)
        with replacing_file(config.processed_dir / path.name) as partial:
            shutil.copyfile(path, partial)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"processed_dir={shown_path(config.processed_dir)}: cannot write there ({error.strerror}); "
            "choose another --processed_dir"
        ) from None


def _controls(evaluation: Parts) -> dict[str, dict[str, float]]:
    """The scores of each domain's controls on its items."""
    return {name: controls(items) for name, items in evaluation.items() if items and (controls := TASKS[name].controls)}


def _counts(parts: Parts) -> dict[str, int]:
    """Number of rows by `domain/source`; counts always show a synthetic source."""
    return dict(Counter(f"{item['domain']}/{item['source']}" for item in _all(parts)))


def _check_ids(train: Parts, evaluation: Parts) -> None:
    for parts in (train, evaluation):
        if double := Ids(item["id"] for item in _all(parts)).repeated():
            item = next(islice(_all(parts), double[0][0], None))
            raise UserError(
                f"two items share the id {shown(item['id'])}: ids name answers and must be unique; "
                "rename it in your own data"
            )
