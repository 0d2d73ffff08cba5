"""Whether a stage must run, can be resumed, or is done: its settings and inputs compared with those recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from l2s.config import ExperimentConfig
from l2s.durable import flush, make_folder, remove
from l2s.errors import UserError
from l2s.run_dir import SIGNAL_INDEX, Manifest, RunDir, as_made, fingerprint, with_later
from l2s.runner.pipeline import Stage, all_stages
from l2s.runner.selection import flag_of, needs_of, requested_stages
from l2s.runner.versions import changed, package_versions
from l2s.sealed import read_sealed, write_sealed

State = Literal["run", "resume", "skip"]
HUB = "hub:"  # instead of a fingerprint: the name of a model that is no folder here


def settings_of(stage: Stage, config: ExperimentConfig) -> dict[str, Any]:
    """The configuration fields that `stage` reads, with their values as JSON stores them."""
    return stage.settings(config).model_dump(mode="json", include={*stage.reads, *stage.models} - stage.unread(config))


def inputs_of(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> dict[str, str]:
    """Fingerprints of the existing files and model folders that `stage` reads; for a hub model, its name.

    Files of the run are named relative to its folder: a run that moved, or is named by another path, is still done.
    """
    paths = {_name_of(path, run_dir): path for path in stage.inputs(run_dir, config)}
    models = {name: Path(getattr(config, name)) for name in stage.models}
    found = {label: fingerprint(path) for label, path in (paths | models).items() if path.exists()}
    return found | {name: f"{HUB}{path}" for name, path in models.items() if not path.exists()}


def _name_of(path: Path, run_dir: RunDir) -> str:
    return str(path.relative_to(run_dir.root)) if path.is_relative_to(run_dir.root) else str(path)


def state_of(stage: Stage, config: ExperimentConfig, run_dir: RunDir, *, requested: bool, force: bool = False) -> State:
    """What a run has to do with `stage`.

    A requested stage must match the whole configuration. A stage that only others need is used as it is, unless an
    explicit setting contradicts it: `--run_kd` uses an SFT student that was trained with other flags.

    Raises:
        UserError: it was finished or started with other settings; names the first difference.
    """
    if stage.always_run or (force and requested):
        return "run"
    manifest = Manifest.load(run_dir.manifest(stage.name))
    begun = _begun(run_dir.started(stage.name))
    if manifest is not None and all(path.exists() for path in stage.gives(run_dir, config)):
        _check_settings(stage, config, run_dir, manifest.config, requested=requested)
        if not requested or manifest.inputs == inputs_of(stage, config, run_dir):
            return "skip"
        return "run"
    if begun is not None:
        _check_settings(stage, config, run_dir, begun["config"], requested=requested)
        return "resume" if begun["inputs"] == inputs_of(stage, config, run_dir) else "run"
    return "resume" if manifest is not None and _still_holds(manifest, stage, config, run_dir) else "run"


def _still_holds(manifest: Manifest, stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> bool:
    """Whether the remains of a partly lost result come from these settings and inputs."""
    made = with_later(stage.name, manifest.config)
    return (made, manifest.inputs) == (settings_of(stage, config), inputs_of(stage, config, run_dir))


def other_versions(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> dict[str, tuple[str, str]]:
    """Versions that what there is of `stage` was made with, beside those here, where they differ and matter."""
    manifest, begun = Manifest.load(run_dir.manifest(stage.name)), _begun(run_dir.started(stage.name))
    before = manifest.versions if manifest is not None else (begun or {}).get("versions", {})
    return changed(stage, config, before)


def changed_inputs(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> list[str]:
    """The inputs that are others than those that a finished or begun `stage` read."""
    manifest, begun = Manifest.load(run_dir.manifest(stage.name)), _begun(run_dir.started(stage.name))
    before = manifest.inputs if manifest is not None else begun["inputs"] if begun else None
    now = inputs_of(stage, config, run_dir)
    return [] if before is None else sorted(name for name in before.keys() | now if before.get(name) != now.get(name))


def inputs_of_begun(stage: Stage, run_dir: RunDir) -> dict[str, str]:
    """The inputs that a begun and unfinished `stage` reads, with their fingerprints; none if there is no such stage."""
    begun = _begun(run_dir.started(stage.name))
    return begun["inputs"] if begun else {}


def changed_unnoticed(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> list[str]:
    """The inputs that have changed since a finished `stage` read them, for a run that uses the stage as it is.

    The stage's own settings name them: the command may leave out its data files. One that is gone, or cannot be read,
    is no change.
    """
    manifest = Manifest.load(run_dir.manifest(stage.name))
    if manifest is None:
        return []
    try:
        now = inputs_of(stage, as_made(config, [manifest]), run_dir)
    except OSError:
        return []
    found = {name: digest for name, digest in now.items() if not digest.startswith(HUB)}
    return sorted(name for name, before in manifest.inputs.items() if found.get(name, before) != before)


def _made_from(field: str, config: ExperimentConfig, run_dir: RunDir) -> list[str]:
    """The stages whose results a changed field makes invalid: those that read it, and all after them, if they exist."""
    stages = all_stages(config)
    affected = [stage for stage in stages if field in (*stage.reads, *stage.models)]
    names = {stage.name for stage in affected}
    for stage in stages:  # in an order in which needs come first
        if names & set(needs_of(stage, config)):
            names.add(stage.name)
    return [stage.name for stage in stages if stage.name in names and _is_noted(stage, run_dir)]


def _is_noted(stage: Stage, run_dir: RunDir) -> bool:
    """Whether the stage is done or begun."""
    return run_dir.manifest(stage.name).exists() or run_dir.started(stage.name).exists()


def begin(stage: Stage, config: ExperimentConfig, run_dir: RunDir, state: State) -> dict[str, str]:
    """Remove what a new run replaces, record the settings it starts with, and return the fingerprints of its inputs.

    Raises:
        UserError: an input is not what the stage that made it left.
    """
    inputs = inputs_of(stage, config, run_dir)
    check_inputs(stage, config, run_dir, inputs)
    started, manifest = run_dir.started(stage.name), run_dir.manifest(stage.name)
    if state == "run":
        _unlink(started)  # first: what is half cleared must not be resumed, nor taken as done
        _unlink(manifest)
        for path in (*stage.gives(run_dir, config), *stage.scratch(run_dir, config)):
            remove(path)
    make_folder(started.parent)
    note = {"config": settings_of(stage, config), "inputs": inputs, "versions": package_versions()}
    write_sealed(started, note)
    _unlink(manifest)  # of a stage that lost an output
    return inputs


def check_inputs(stage: Stage, config: ExperimentConfig, run_dir: RunDir, inputs: Mapping[str, str]) -> None:
    """Refuse files that have changed since a stage of this experiment wrote them: a result of them would be wrong.

    Signals are left to their reader, which knows the checksum of every shard and has only the damaged one made again.

    Raises:
        UserError: names the file, the stage that wrote it, and what to do.
    """
    for maker in (stage.name for stage in all_stages(config)):
        manifest = Manifest.load(run_dir.manifest(maker))
        made = manifest.outputs if manifest else {}
        for label in made.keys() & inputs.keys():
            if inputs[label] != made[label] and f"{label}/{SIGNAL_INDEX}" not in made:
                raise run_dir.changed(run_dir.root / label, maker)


def _unlink(note: Path) -> None:
    """Remove a file for good, whatever happens to the machine."""
    if note.exists():
        remove(note)
        flush(note.parent)


def clear_scratch(stage: Stage, config: ExperimentConfig, run_dir: RunDir) -> None:
    """Remove what a finished stage would have been resumed from."""
    gives = stage.gives(run_dir, config)
    for path in (run_dir.started(stage.name), *stage.scratch(run_dir, config)):
        if path not in gives:
            remove(path)


def _begun(path: Path) -> dict[str, Any] | None:
    """The settings that an unfinished stage was started with, or None where there is no such note.

    Raises:
        UserError: the note is damaged.
    """
    try:
        note = read_sealed(path)
        parts = ("config", "inputs", "versions")
        return {part: dict(note.get(part, {}) if part == "versions" else note[part]) for part in parts}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: the settings of an unfinished stage are damaged ({error}); remove this file, and the "
            "same command starts that stage from its beginning"
        ) from None


def _check_settings(
    stage: Stage, config: ExperimentConfig, run_dir: RunDir, before: dict[str, Any], *, requested: bool
) -> None:
    explicit, before = stage.settings(config).model_fields_set, with_later(stage.name, before)
    for name, value in settings_of(stage, config).items():
        matters = requested or name in explicit
        if matters and name in before and before[name] != value:
            again = _how_to_repeat(name, config, run_dir) if requested else "ask for that stage too, with --force"
            if name == "merge_weight" and run_dir.has_finished(stage.name) and before["tuning"] != "full":
                again = f"take `l2s merge`, which does not train again, {again}"
            decided = ", ".join(_made_from(name, config, run_dir))
            done = "made" if run_dir.manifest(stage.name).exists() else "begun"
            raise UserError(
                f"{name}={value!r}: stage {stage.name} of experiment {config.experiment_name!r} was {done} with "
                f"{name}={before[name]!r}; it decides {decided}: repeat that value, {again}, or choose another "
                "--experiment_name"
            )


def _how_to_repeat(field: str, config: ExperimentConfig, run_dir: RunDir) -> str:
    """How to have the stages made again that read `field`: --force makes all again that a command asks for."""
    affected, requested = _made_from(field, config, run_dir), requested_stages(config)
    noted = [stage for stage in all_stages(config) if not stage.always_run and _is_noted(stage, run_dir)]
    lost = [stage.name for stage in noted if stage.name in requested and stage.name not in affected]
    if not lost:
        return "add --force to make it again"
    flags = dict.fromkeys(f"--{flag_of(stage)}" for stage in noted if field in settings_of(stage, config))
    return (
        f"make it again with {' '.join(flags)} --force alone and then repeat this command (--force here would make "
        f"{', '.join(lost)} again too)"
    )
