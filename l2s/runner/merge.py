"""Merge trained students again with another `merge_weight`: the kept adapters do, and nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from l2s.arms import ARMS
from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.run_dir import ArmDir, Manifest, RunDir, as_made, fingerprint
from l2s.run_dir.outdated import outdated
from l2s.runner.freshness import HUB
from l2s.runner.pipeline import Stage, all_stages
from l2s.runner.selection import flag_of
from l2s.terminal import quiet_libraries
from l2s.visible import in_one_line

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Student:
    """A student whose training is finished.

    Attributes:
        stage: its training.
        manifest: what the training recorded.
        config: the settings of the training.
        run_dir: the folder of its experiment.
    """

    stage: Stage
    manifest: Manifest
    config: ExperimentConfig
    run_dir: RunDir

    @property
    def folder(self) -> ArmDir:
        """Its own folder in that of the experiment."""
        return self.run_dir.of_copy(self.stage.copy).arm(self.stage.original)

    @property
    def base(self) -> Path:
        """Folder or hub name of the model that its training started from."""
        from l2s.training.student import initial_student

        if not ARMS[self.stage.original].starts_from:
            return Path(self.config.student_model)
        return Path(initial_student(self.config, self.run_dir.of_copy(self.stage.copy)))

    @property
    def starts_from(self) -> str | None:
        """The stage that trained that model; None for the base student."""
        return self.base.parent.name if self.base.is_relative_to(self.run_dir.root) else None

    def label(self, path: Path) -> str:
        """The name of a file or folder in the manifest."""
        return str(path.relative_to(self.run_dir.root))

    def is_as_recorded(self, path: Path) -> bool:
        """Whether one of its outputs is as the training left it."""
        return path.exists() and fingerprint(path) == self.manifest.outputs.get(self.label(path))


def merge_again(root: Path, weight: float, arms: Sequence[str] | None = None) -> None:
    """Make final_model of trained students anew, with `weight` of what their training has changed.

    Prints which results of the former weights this outdates.

    Args:
        root: the folder of the experiment.
        weight: the share of the change, in (0, 1].
        arms: the arms whose students are merged, with their copies for other seeds; None: all that were trained.

    Raises:
        UserError: a student is not trained, has no adapter, or does not lie on the weights that it was trained from.
            All are checked before the first one changes.
    """
    quiet_libraries()
    run_dir = RunDir(root)
    config = run_dir.load_config()
    run_dir.create()  # which checks what is there
    with run_dir.lock():
        students = _students(config, run_dir, arms)
        for student in students:
            _check(student, [other.stage.name for other in students])
        for student in students:
            _merge(student, weight)
        _say_what_is_outdated(config, run_dir)


def _students(config: ExperimentConfig, run_dir: RunDir, arms: Sequence[str] | None) -> list[Student]:
    students = [
        Student(stage, manifest, as_made(config, [manifest]), run_dir)
        for stage in all_stages(config)
        if stage.original in (arms or ARMS) and (manifest := Manifest.load(run_dir.manifest(stage.name)))
    ]
    found = [student.stage.original for student in students]
    if missing := [arm for arm in arms or () if arm not in found]:
        raise UserError(
            f"arms={','.join(arms or ())}: {in_one_line(str(run_dir.root))} has no finished training of "
            f"{', '.join(missing)}; train it first, or leave it out"
        )
    if not found:
        raise UserError(f"{run_dir.root}: no student is trained there; `l2s run` trains one")
    return students


def _check(student: Student, merged: Sequence[str]) -> None:
    """Check that the adapter is the one that was trained, on the weights that it was trained on.

    Raises:
        UserError: it is not, or there is none.
    """
    name, adapter, base = student.stage.name, student.folder.adapter, student.base
    if student.label(adapter) not in student.manifest.outputs:
        raise UserError(
            f"tuning={shown(student.config.tuning)}: {name} kept no adapter that could be merged again; train it with "
            "the other --merge_weight and --force"
        )
    if not student.is_as_recorded(adapter):
        raise student.run_dir.changed(adapter, name)
    if not (final_model := student.folder.final_model).exists():
        raise UserError(f"{final_model}: missing, and with it the tokenizer; restore it, or train {name} again")
    if student.starts_from in merged:
        raise UserError(
            f"{name} was trained on the student of {student.starts_from}, which would change under it: merge one of "
            f"them alone with --arms; after {student.starts_from}, {name} has to be trained again"
        )
    label = student.label(base) if student.starts_from else "student_model"
    if student.manifest.inputs.get(label) != (fingerprint(base) if base.exists() else f"{HUB}{base}"):
        raise UserError(
            f"{in_one_line(str(base))}: not the weights that {name} was trained on, so its adapter does not fit; "
            f"restore them, or train {name} again"
        )


def _merge(student: Student, weight: float) -> None:
    from l2s.models.save import merge_adapter_again

    name, manifest, final_model = student.stage.name, student.manifest, student.folder.final_model
    if student.config.merge_weight == weight and student.is_as_recorded(final_model):
        console.print(f"{name}: merge_weight={weight:g} already")
        return
    console.print(f"{name}: merging {weight:g} of its change into {in_one_line(str(student.base))}", markup=False)
    config = student.config.model_copy(update={"merge_weight": weight})
    merge_adapter_again(student.folder.root, str(student.base), config)
    replace(
        manifest,
        config=manifest.config | {"merge_weight": weight},
        metrics={**manifest.metrics, "merge_weight": weight},
        outputs=manifest.outputs | {student.label(final_model): fingerprint(final_model)},
    ).save(student.run_dir.manifest(name))
    student.run_dir.log("merge", stage=name, merge_weight=weight)


def _say_what_is_outdated(config: ExperimentConfig, run_dir: RunDir) -> None:
    stages = {stage.name: stage for stage in all_stages(config)}
    found = {name: Manifest.load(run_dir.manifest(name)) for name in stages}
    of_former = outdated({name: manifest for name, manifest in found.items() if manifest is not None})
    if of_former:
        flags = " ".join(dict.fromkeys(f"--{flag_of(stages[name])}" for name in of_former))
        console.print(f"of former weights: {', '.join(of_former)}; `l2s run` with {flags} makes them again")
