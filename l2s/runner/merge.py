"""Merge trained students again with another `merge_weight`: the kept adapters do, and nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from rich.console import Console

from l2s.arms import ARMS, COPY
from l2s.config import ExperimentConfig
from l2s.durable import former_of, remove, replacing_folder
from l2s.errors import UserError, shown
from l2s.jsonl import cut_unfinished_line
from l2s.run_dir import ArmDir, Manifest, RunDir, fingerprint, with_later
from l2s.run_dir.outdated import outdated
from l2s.runner.freshness import HUB, inputs_of_begun
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
        config: the settings of the experiment, with those that the training recorded.
        run_dir: the folder of the experiment.
    """

    stage: Stage
    manifest: Manifest
    config: ExperimentConfig
    run_dir: RunDir

    @property
    def name(self) -> str:
        """The name of its training: sft, or sft@2."""
        return self.stage.name

    @property
    def folder(self) -> ArmDir:
        """Its own folder in that of the experiment."""
        return self.run_dir.of_copy(self.stage.copy).arm(self.stage.original)

    @property
    def base(self) -> str:
        """Folder or hub name of the model that its training started from."""
        from l2s.training.student import initial_student

        if not ARMS[self.stage.original].starts_from:
            return self.config.student_model
        return initial_student(self.config, self.run_dir.of_copy(self.stage.copy))

    @property
    def starts_from(self) -> str | None:
        """The stage that trained that model; None for the base student."""
        return None if self.base == self.config.student_model else Path(self.base).parent.name

    def label(self, path: Path) -> str:
        """The name of one of its files in manifests."""
        return str(path.relative_to(self.run_dir.root))

    def is_as_recorded(self, path: Path) -> bool:
        """Whether one of its outputs is as its stage left it."""
        return path.exists() and fingerprint(path) == self.manifest.outputs.get(self.label(path))

    def check(self) -> None:
        """Check that adapter and final_model are as they were left, and the base model as it was at the training.

        Raises:
            UserError: one is not, or there is no adapter.
        """
        if self.label(self.folder.adapter) not in self.manifest.outputs:
            raise UserError(
                f"tuning={shown(self.config.tuning)}: {self.name} kept no adapter that could be merged again; leave it "
                "out with --arms, or train it with the other --merge_weight and --force"
            )
        for path in (self.folder.adapter, self.folder.final_model):
            if not self.is_as_recorded(path):
                raise UserError(
                    f"{in_one_line(str(path))}: changed since {self.name} wrote it (its checksum does not match); "
                    f"restore it, or train {self.name} again with --force"
                )
        if self.starts_from:
            self._check_base(self.label(Path(self.base)))
        else:
            self._check_base("student_model")

    def _check_base(self, label: str) -> None:
        recorded, base = self.manifest.inputs.get(label, ""), Path(self.base)
        now = fingerprint(base) if base.exists() else f"{HUB}{base}"
        if now == recorded:
            return
        named = in_one_line(f"{label}={self.base}")
        if not base.exists():
            raise UserError(
                f"{named}: not found from the folder {in_one_line(str(Path.cwd()))}; {self.name} was trained on it, so "
                "put it there, or start the command in the folder where the experiment was run"
            )
        raise UserError(
            f"{named}: not the weights that {self.name} was trained on, so its adapter does not fit; restore them, or "
            f"train {self.name} again"
        )


def merge_again(root: Path, weight: float, arms: Sequence[str] | None = None) -> None:
    """Give final_model of trained students `weight` of what their training has changed.

    Prints which results of the former weights this outdates. Interrupted, it leaves each student as it was or done.

    Args:
        root: the folder of the experiment.
        weight: the share of the change, in (0, 1].
        arms: the arms whose students are merged, with their copies for other seeds; None: all that were trained.

    Raises:
        UserError: a student is not trained, has no adapter, or does not lie on the weights that it was trained on. All
            are checked before the first one changes.
    """
    quiet_libraries()
    run_dir = RunDir(root.resolve())
    config = _with_copies(run_dir.load_config(), run_dir)
    run_dir.create()  # which checks what is there
    with run_dir.lock():
        students = _students(config, run_dir, arms)
        for student in students:
            _undo_unfinished(student)
            student.check()
        for student in students:
            if student.config.merge_weight == weight:
                console.print(f"{student.name}: merge_weight={weight:g} already")
        changing = [student for student in students if student.config.merge_weight != weight]
        _check_others(changing, config, run_dir)
        cut_unfinished_line(run_dir.log_file)
        for student in changing:
            _merge(student, weight)
        _say_what_is_outdated(config, run_dir)


def _with_copies(config: ExperimentConfig, run_dir: RunDir) -> ExperimentConfig:
    """`config` with the seeds of all copies that are there: the last command may have named none."""
    first, *others = config.training_seeds
    found = {path.name.partition(COPY)[2] for arm in ARMS for path in run_dir.root.glob(f"{arm}{COPY}*")}
    seeds = dict.fromkeys([first, *others, *sorted(int(seed) for seed in found if seed.isdecimal())])
    return config.model_copy(update={"seeds": ",".join(map(str, seeds))}) if len(seeds) > 1 else config


def _students(config: ExperimentConfig, run_dir: RunDir, arms: Sequence[str] | None) -> list[Student]:
    students = [
        Student(stage, manifest, config.model_copy(update=with_later(stage.name, manifest.config)), run_dir)
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
        raise UserError(f"{in_one_line(str(run_dir.root))}: no student is trained there; `l2s run` trains one")
    return students


def _check_others(changing: Sequence[Student], config: ExperimentConfig, run_dir: RunDir) -> None:
    """Check that no training stands on a student that is about to change, but for those that are finished.

    Raises:
        UserError: one does.
    """
    names = [student.name for student in changing]
    for student in changing:
        if student.starts_from in names:
            raise UserError(
                f"{student.name} was trained on the student of {student.starts_from}, which would change under it: "
                f"merge one of them alone with --arms; after {student.starts_from}, {student.name} has to be trained "
                "again"
            )
    for student in changing:
        for begun in _begun_on(student, config, run_dir):
            raise UserError(
                f"{begun} was begun on the student of {student.name} and is not finished; finish it with `l2s run "
                f"--run_{begun.partition(COPY)[0]}`, or remove {run_dir.started(begun)} to begin it anew"
            )


def _begun_on(student: Student, config: ExperimentConfig, run_dir: RunDir) -> Iterator[str]:
    label = student.label(student.folder.final_model)
    for stage in all_stages(config):
        if stage.original in ARMS and label in inputs_of_begun(stage, run_dir):
            yield stage.name


def _undo_unfinished(student: Student) -> None:
    """Bring back the final_model of a merge that was killed before it was recorded."""
    final_model, former = student.folder.final_model, former_of(student.folder.final_model)
    if former.exists() and not student.is_as_recorded(final_model):
        remove(final_model)
        former.rename(final_model)
    remove(former)


def _merge(student: Student, weight: float) -> None:
    from l2s.models.save import write_merged_again

    manifest, folder = student.manifest, student.folder
    console.print(f"{student.name}: merging {weight:g} of its change into {in_one_line(student.base)}", markup=False)
    with replacing_folder(folder.final_model, keep_former=True) as partial:
        config = student.config.model_copy(update={"merge_weight": weight})
        write_merged_again(folder.adapter, student.base, folder.final_model, partial, config)
        made = {student.label(folder.final_model): fingerprint(partial)}
    metrics = cast("dict[str, object]", manifest.metrics) | {"merge_weight": weight}
    settings = manifest.config | {"merge_weight": weight}
    replace(manifest, config=settings, metrics=metrics, outputs=manifest.outputs | made).save(  # type: ignore[arg-type]
        student.run_dir.manifest(student.name)
    )
    remove(former_of(folder.final_model))
    student.run_dir.log("merge", stage=student.name, merge_weight=weight)


def _say_what_is_outdated(config: ExperimentConfig, run_dir: RunDir) -> None:
    stages = {stage.name: stage for stage in all_stages(config)}
    found = {name: Manifest.load(run_dir.manifest(name)) for name in stages}
    of_former = outdated({name: manifest for name, manifest in found.items() if manifest is not None})
    if not of_former:
        return
    commands = dict.fromkeys(_command_of(stages[name]) for name in of_former)
    console.print(
        f"of former weights, and left out of reports: {', '.join(of_former)}; made again by "
        f"{', then '.join(commands)}, with the experiment's flags but for --merge_weight"
    )


def _command_of(stage: Stage) -> str:
    """The command that makes a stage again whose sources have changed; a training asks for --force."""
    return f"`l2s {stage.original} --force`" if stage.original in ARMS else f"`l2s run --{flag_of(stage)}`"
