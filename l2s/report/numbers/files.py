"""Reads the files of a run folder that the report is made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from l2s.arms import ARMS, MODELS, copy_name, original
from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.jsonl import Row, load_jsonl, require_file
from l2s.run_dir import Manifest, RunDir, as_made, fingerprint, reads_replaced_files
from l2s.tasks.own.rows import DOMAIN
from l2s.tasks.types import Item

EVALUATIONS = ("evaluate_", "lm_eval_")
STAGES = (
    "prepare", "generate", "score", *ARMS, *(f"evaluate_{model}" for model in MODELS),
    *(f"lm_eval_{model}" for model in MODELS),
)  # fmt: skip


TRIES = 20
MOST_TOKENS = 2**32  # of an answer
ITEM: dict[str, Any] = {"id": str, "domain": str, "source": str, "messages": list, "meta": dict}
PREDICTION: dict[str, Any] = {
    "response": str, "finish_reason": str, "num_tokens": int, "status": str, "score": int | float | None,
    "details": dict | None,
}  # fmt: skip


@dataclass(frozen=True)
class RunFiles:
    """The parsed files of one run. A missing file is an empty list, or absent from its dict.

    Attributes:
        config: the settings that the stages recorded; those that no stage reads are of the last command.
        predictions: model -> rows in the order of the evaluation items; only models that were evaluated.
        fidelity: model -> one row for each of the teacher's evaluation answers.
        manifests: finished stage -> manifest, in the order of the pipeline; without outdated evaluations.
        curves: arm -> logged steps.
        heldout_curves: arm -> loss on held-out answers at some of these steps.
        lm_eval: model -> the results of lm-evaluation-harness.
        never_right: training items that no answer of the teacher gets right.
        by_seed: model -> seed -> its rows; only models that were evaluated with the first seed and with another.
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
    never_right: list[Row] = field(default_factory=list)
    by_seed: dict[str, dict[int, list[Row]]] = field(default_factory=dict)


def read_run(config: ExperimentConfig, run_dir: RunDir) -> RunFiles:
    """Parse the folder, beside a run that is working in it too: all that is read belongs together.

    An evaluation that has not finished is left out, and so is one of files that have been made again since: the
    evaluation items, the teacher's answers or the weights.

    Raises:
        UserError: a file is broken, or not as its stage left it; names the file and what to do.
    """
    for _ in range(TRIES):
        state = _state(config, run_dir)
        try:
            files = _read(config, run_dir)
        except (UserError, FileNotFoundError) as error:  # a stage that starts clears its files in between
            if isinstance(error, UserError) and _state(config, run_dir) == state:
                raise
        else:
            if _state(config, run_dir) == state:
                return files
    raise UserError(f"{run_dir.root}: its files keep changing; try again when its run has ended")


def _state(config: ExperimentConfig, run_dir: RunDir) -> list[tuple[int, int] | None]:
    """What changes whenever a stage begins or ends."""
    paths = [path for stage in _stages(config) for path in (run_dir.manifest(stage), run_dir.started(stage))]
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # it may go at any moment
        return None
    return found.st_mtime_ns, found.st_ino


def _read(config: ExperimentConfig, run_dir: RunDir) -> RunFiles:
    found = {stage: Manifest.load(run_dir.manifest(stage)) for stage in _stages(config)}
    finished = {stage: manifest for stage, manifest in found.items() if manifest is not None}
    manifests = {stage: manifest for stage, manifest in finished.items() if not _is_outdated(manifest, finished)}
    evaluated = [model for model in MODELS if not _unfinished(model, found, run_dir)]
    harness = [model for model in MODELS if f"lm_eval_{model}" not in finished.keys() - manifests.keys()]
    reader = Reader(run_dir, finished)
    rows, items = reader.rows, reader.items
    return RunFiles(
        config=as_made(config, manifests.values()),
        root=run_dir.root,
        train=cast(list[Item], items(run_dir.train_data)),
        eval=cast(list[Item], items(run_dir.eval_data)),
        predictions=_present({model: items(run_dir.predictions(model)) for model in evaluated}),
        fidelity=_present({model: rows(run_dir.fidelity(model)) for model in evaluated}),
        manifests=manifests,
        curves=_present({arm: rows(run_dir.arm(arm).metrics) for arm in ARMS}),
        heldout_curves=_present({arm: rows(run_dir.arm(arm).heldout_metrics) for arm in ARMS}),
        lm_eval={model: rows(path)[0] for model in harness if (path := run_dir.lm_eval(model)).exists()},
        never_right=rows(run_dir.never_right),
        by_seed=_by_seed(config, found, items, run_dir),
    )


def _unfinished(model: str, manifests: Mapping[str, Manifest | None], run_dir: RunDir) -> bool:
    """Whether the evaluation of `model` is running, was killed, is outdated, or its student is being trained again."""
    evaluation = manifests[f"evaluate_{model}"]
    if evaluation is None:
        return run_dir.started(f"evaluate_{model}").exists()
    for arm in ARMS.values():
        if arm.model.name == original(model):
            name = model.replace(arm.model.name, arm.name)
            if manifests[name] is None and run_dir.started(name).exists():
                return True
    return _is_outdated(evaluation, manifests)


def _is_outdated(manifest: Manifest, manifests: Mapping[str, Manifest | None]) -> bool:
    """Whether an evaluation read items, answers or weights that have been made again since, and are others now."""
    made = {stage: other for stage, other in manifests.items() if other is not None}
    return manifest.stage.startswith(EVALUATIONS) and reads_replaced_files(manifest, made)


class Reader:
    """Reads files of a run, and refuses one that has changed since the stage that wrote it finished."""

    def __init__(self, run_dir: RunDir, manifests: Mapping[str, Manifest]) -> None:
        self.run_dir = run_dir
        self.made = {label: (stage, sha) for stage, one in manifests.items() for label, sha in one.outputs.items()}

    def rows(self, path: Path) -> list[Row]:
        """The rows of a file that may be missing or empty; that of lm-evaluation-harness is a single object.

        A running stage may still be writing the last line of its log, which is left out.

        Raises:
            UserError: it is broken, or changed.
        """
        stage, sha256 = self.made.get(str(path.relative_to(self.run_dir.root)), ("", ""))
        try:
            if path.exists():
                require_file(path)
            if stage and not (path.exists() and fingerprint(path) == sha256):
                raise self.run_dir.changed(path, stage)
            if path.suffix == ".json":
                return [dict(json.loads(path.read_text(encoding="utf-8")))]
            data = path.read_bytes() if path.exists() else b""
            if not stage and not data.endswith(b"\n"):
                whole = data[: data.rfind(b"\n") + 1].splitlines()
                return _checked([dict(json.loads(line)) for line in whole if line.strip()])
            return _checked(load_jsonl(path)) if data else []
        except UserError:
            raise
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise UserError(f"{path}: cannot be read ({reason}); repair or remove it") from None

    def items(self, path: Path) -> list[Row]:
        """The rows of a file of items, with answers or without, as the report reads them.

        Raises:
            UserError: it is broken, or changed, or a field of a row is missing or of another type.
        """
        found = self.rows(path)
        try:
            for row in found:
                _check_item(row)
        except ValueError as error:
            raise UserError(f"{path}: cannot be read ({error}); repair or remove it") from None
        return found


def _checked(rows: list[Row]) -> list[Row]:
    """Rows whose domains can be parts of file names: a folder may come from somebody else.

    Raises:
        ValueError: a domain cannot.
    """
    for row in rows:
        if "domain" in row and not (isinstance(row["domain"], str) and DOMAIN.fullmatch(row["domain"])):
            raise ValueError(f"domain={row['domain']!r:.60} is no name of a domain")
    return rows


def _check_item(row: Row) -> None:
    """Check the fields of an item, and of the answer to it where there is one.

    Raises:
        ValueError: one is missing, or of another type.
    """
    for name, kind in (ITEM | PREDICTION if "response" in row else ITEM).items():
        if not isinstance(row.get(name), kind) or isinstance(row[name], bool):
            raise ValueError(f"{name}={shown(row.get(name))} is not what a stage writes")
    for turn in row["messages"]:
        if not (isinstance(turn, dict) and all(isinstance(turn.get(part), str) for part in ("role", "content"))):
            raise ValueError(f"messages={shown(row['messages'])} are no turns of a chat")
    if not 0 <= row.get("num_tokens", 0) < MOST_TOKENS:
        raise ValueError(f"num_tokens={shown(row['num_tokens'])} is no length of an answer")
    score = row.get("score")
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"score={shown(score)} is no number from 0 to 1")


def _stages(config: ExperimentConfig) -> list[str]:
    """The stages whose manifests are read: also those of the copies that train with further seeds."""
    names = (*ARMS, *(f"evaluate_{arm.model.name}" for arm in ARMS.values()))
    return [*STAGES, *(copy_name(name, seed) for seed in config.training_seeds[1:] for name in names)]


def _by_seed(
    config: ExperimentConfig,
    manifests: Mapping[str, Manifest | None],
    rows_of: Callable[[Path], list[Row]],
    run_dir: RunDir,
) -> dict[str, dict[int, list[Row]]]:
    """The rows of the models that were evaluated with the first seed, of which all tables are, and with another."""
    first, *others = config.training_seeds
    found: dict[str, dict[int, list[Row]]] = {}
    for model in (arm.model.name for arm in ARMS.values()):
        files = {first: model} | {seed: copy_name(model, seed) for seed in others}
        finished = {seed: name for seed, name in files.items() if not _unfinished(name, manifests, run_dir)}
        rows = {seed: rows_of(run_dir.predictions(name)) for seed, name in finished.items()}
        found[model] = {seed: of_seed for seed, of_seed in rows.items() if of_seed}
    return {model: rows for model, rows in found.items() if len(rows) > 1 and first in rows}


def _present(rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {name: found for name, found in rows.items() if found}
