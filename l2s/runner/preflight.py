"""Checks before anything is loaded or written: each failure names the field, the value and the fix."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence, Set
from importlib.util import find_spec
from pathlib import Path

from l2s.arms import ARMS
from l2s.config import TRACKERS, ExperimentConfig, ModelField
from l2s.counted import counted
from l2s.errors import UserError, require_extra, shown_path
from l2s.generation.context import check_context
from l2s.generation.whose_answers import check_answers
from l2s.jsonl import require_file
from l2s.models import demo
from l2s.run_dir import RunDir
from l2s.runner.engine_checks import check_engine, check_quantization, why_weights
from l2s.runner.pipeline import Stage
from l2s.runner.selection import requested_stages
from l2s.tasks.table import TASKS, tasks_of
from l2s.tasks.task import Split

GRADING_STAGES: dict[Split, str] = {"train": "generate", "eval": "evaluate_teacher"}
ASK_TRAINING_ITEMS = ("generate", "opd")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")  # of a model


def check_settings(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Check all that needs neither torch nor the network.

    Raises:
        UserError: a path does not exist, a package is missing, or there is nothing to train or evaluate on.
    """
    names = {stage.name for stage in stages}
    check_engine(config, stages)
    _check_cluster(config)
    for field in model_fields(stages, config):
        with why_weights(field, config):
            _check_model_path(field, getattr(config, field))
    _check_data_dir(config)
    for task in TASKS.values():
        task.check(config, TASKS)
    _check_can_be_written("output_dir", config.output_dir, below=config.experiment_name)
    _check_signals_are_read(config)
    if "prepare" in names:
        _check_can_be_written("processed_dir", config.processed_dir)
    _check_temporary_folder()
    if names & set(ARMS):
        _check_trackers(config)
        check_sharding(config)
    if "opd" in names:
        _check_opd(config, [stage.name for stage in stages if stage.original == "opd"])
    if any(name.startswith("lm_eval_") for name in names):
        _check_harness(config)
    asking = {stage.name for stage in stages if stage.original in ASK_TRAINING_ITEMS}
    if asking:
        _check_sizes(config, "train", "train on")
        if not _are_there(asking, config):
            check_context(config)
            check_answers(config)
    if "evaluate_teacher" in names:
        _check_sizes(config, "eval", "evaluate on")


def _are_there(asking: set[str], config: ExperimentConfig) -> bool:
    """Whether answers are there and not asked for again, so that no context is needed."""
    return all(map(RunDir.of(config).has_finished, asking)) and not asking & requested_stages(config)


def check_models(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Build the demo's models if they are requested, and check that the models exist and share a vocabulary.

    Only configurations and tokenizers are downloaded or loaded, no weights.

    Raises:
        UserError: a configuration or a tokenizer cannot be loaded, one of `l2s.runner.model_checks` fails, or teacher
            and student have different tokenizers although a stage compares distributions.
    """
    fields = sorted(model_fields(stages, config), reverse=True)  # the teacher first
    if not fields:
        return
    from l2s.chat import check_same_vocabulary, load_renderer
    from l2s.runner.model_checks import check_tokenizer, check_weights

    names = {stage.name for stage in stages}
    renderers = {}
    for field in fields:
        demo.build_if_missing(Path(getattr(config, field)))
        with why_weights(field, config):
            check_weights(field, config, names)
            renderers[field] = load_renderer(config, field)
            check_tokenizer(field, config, renderers[field])
    if "teacher_model" in fields:
        check_quantization(config)
    if len(renderers) == 2 and compares_models(names):
        check_same_vocabulary(renderers["teacher_model"], renderers["student_model"])
    if "score" in names:
        check_topk_fits(config)
    if "opd" in names:
        check_teacher_covers_student(config)


def compares_models(names: Set[str]) -> bool:
    """Whether a stage among `names` compares the distributions of teacher and student, token by token."""
    return any(name in ("score", "kd", "opd") or name.startswith("evaluate_") for name in names)


def check_sharding(config: ExperimentConfig, *, on_cpu: bool = False) -> None:
    """Check that ranks can hold the student as `sharding` says.

    Raises:
        UserError: a package or a GPU is missing, or the sharding does not support the tuning.
    """
    if config.sharding in ("auto", "ddp"):
        return
    field = f"sharding={config.sharding!r}"
    if on_cpu or config.device == "cpu":
        raise UserError(f"{field}: shards need GPUs; on a CPU use --sharding ddp, or leave it out")
    check_sharding_fits(config)
    if config.sharding in ("zero2", "zero3"):
        require_extra("deepspeed", "deepspeed", field)


def check_sharding_fits(config: ExperimentConfig) -> None:
    """Check that the sharding supports the tuning, on whatever machine.

    Raises:
        UserError: it does not.
    """
    if config.sharding == "zero3" and config.tuning == "qlora":
        raise UserError("sharding='zero3': cannot split 4-bit weights; use zero2 or ddp with --tuning qlora")


def check_benchmarks(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """If this run uses lm-evaluation-harness, check that its tasks and their data exist.

    Raises:
        UserError: they do not.
    """
    if any(stage.name.startswith("lm_eval_") for stage in stages):
        from l2s.evaluation.lm_eval import load_tasks

        load_tasks(config)


def check_machine(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """If this run grades model-written code, check that there is a sandbox for it.

    Raises:
        UserError: there is none; says how to get one.
    """
    names = {stage.name for stage in stages}
    graded: list[Split] = [split for split, stage in GRADING_STAGES.items() if stage in names]
    tasks = [task for task in tasks_of(config).values() if task.runs_programs]
    solved = [("train", task) for task in tasks if config.answers_in(task.name) == "reference"]  # are not graded
    if any(task.size(split, config) for task in tasks for split in graded if (split, task) not in solved):
        from l2s import sandbox

        sandbox.check()


def _check_cluster(config: ExperimentConfig) -> None:
    """Refuse settings of a cluster that this run does not use, and a folder that would be another on each node."""
    for field in ("address", "storage_path", "node_dir"):
        value = getattr(config, field)
        if config.executor == "local" and value != ExperimentConfig.model_fields[field].default:
            raise UserError(
                f"{field}={shown_path(value)}: is for a Ray cluster, and this run stays on this machine; add "
                f"--executor ray, or leave --{field} out"
            )
    if config.node_dir and not config.node_dir.is_absolute():
        raise UserError(
            f"node_dir={shown_path(config.node_dir)}: is another folder for each process; give an absolute path, which "
            "starts with /"
        )


def _check_signals_are_read(config: ExperimentConfig) -> None:
    if config.run_score and config.teacher_signal == "online":
        raise UserError(
            "teacher_signal='online': KD then asks the teacher itself, so run_score=True would record signals that "
            "nothing reads; leave run_score out, or set --teacher_signal hidden or topk"
        )


def _check_data_dir(config: ExperimentConfig) -> None:
    if config.data_dir is None or _is_folder(config.data_dir):
        return
    origin = " (from the variable L2S_DATA)" if os.environ.get("L2S_DATA") else ""
    files = [file for task in tasks_of(config).values() for file in task.files(config)]
    needed = [f"{file.name}/" for file in files if file.parent == config.data_dir]  # gsm8k/ and mbpp/
    if needed:
        raise UserError(
            f"data_dir={shown_path(config.data_dir)}{origin}: no such folder; give the folder that holds "
            f"{' and '.join(needed)}, or leave it out to use the hub"
        )


def _check_sizes(config: ExperimentConfig, split: Split, purpose: str) -> None:
    tasks = tasks_of(config).values()
    if not any(task.size(split, config) for task in tasks):
        zeros = ", ".join(f"{task.size_field(split)}=0" for task in tasks)
        raise UserError(f"{zeros}: nothing to {purpose}; set at least one above 0")


def _check_harness(config: ExperimentConfig) -> None:
    folder = config.lm_eval_include_path
    if folder is not None and not _is_folder(folder):
        raise UserError(
            f"lm_eval_include_path={shown_path(folder)}: no such folder; give the folder that holds the YAML files of "
            "your tasks"
        )
    require_extra("lm_eval", "lm-eval", f"lm_eval_tasks={config.lm_eval_tasks!r}")


def _check_can_be_written(field: str, folder: Path, below: str = "") -> None:
    if reason := _why_not_written(folder / below):
        raise UserError(
            f"{field}={shown_path(folder)}: {reason}; choose another folder with --{field}, or make it writable"
        )


def _why_not_written(folder: Path) -> str | None:
    """Why a folder can neither be made nor be written to, as far as can be seen without trying."""
    for path in (folder, *folder.parents):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # a parent decides
        except OSError as error:
            return f"cannot be made ({error.strerror})"
        if not path.is_dir():
            return f"{shown_path(path)} is {'a link that leads nowhere' if path.is_symlink() else 'a file'}"
        return None if os.access(path, os.W_OK | os.X_OK) else f"{shown_path(path)} cannot be written to"
    return None


def _check_temporary_folder() -> None:
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(f"TMPDIR: {error.strerror or error}; set it to a folder that can be written to") from None


def _check_trackers(config: ExperimentConfig) -> None:
    for name in config.report_to.split(","):
        if name in TRACKERS and find_spec(TRACKERS[name]) is None:
            raise UserError(
                f"report_to={config.report_to!r}: {TRACKERS[name]} is not installed; install it with pip, or use "
                "--report_to none"
            )


def model_fields(stages: Sequence[Stage], config: ExperimentConfig) -> set[ModelField]:
    """The fields of the models whose files the stages read; a teacher behind an endpoint has none."""
    asked = ("generate", "evaluate_teacher") if config.remote_teacher else ()
    fields = {field for stage in stages if stage.name not in asked for field in stage.models}
    return fields | {"student_model" for stage in stages if stage.name in asked}


def _check_opd(config: ExperimentConfig, trained: Sequence[str]) -> None:
    if not all(map(RunDir.of(config).has_finished, trained)):  # a student that is there is evaluated without TRL
        require_extra("trl", "trl", "run_opd (or opd among the arms)")
    if config.opd_max_new_tokens >= config.max_length:
        raise UserError(
            f"opd_max_new_tokens={config.opd_max_new_tokens}: leaves no room for a prompt; "
            f"it must be below max_length={config.max_length}"
        )


def _check_model_path(field: str, value: str) -> None:
    """A value that can only be a path must be a model folder; `org/name` may also be on the hub."""
    folder = Path(value)
    if _is_folder(folder):
        _check_model_folder(f"{field}={shown_path(value)}", folder)
    elif demo.is_demo(folder):
        return
    elif _is_file(folder):
        raise UserError(
            f"{field}={shown_path(value)}: is a file; give the folder that holds the model, with its config.json"
        )
    elif not HUB_NAME.fullmatch(value):
        raise UserError(
            f"{field}={shown_path(value)}: no such folder; give an existing folder or a hub name such as Qwen/Qwen3-8B"
        )


def _check_model_folder(where: str, folder: Path) -> None:
    if not (folder / "config.json").exists():
        raise UserError(
            f"{where}: the folder holds no config.json; give a folder saved by save_pretrained, such as "
            "outputs/NAME/final_model"
        )
    if (folder / "adapter_config.json").exists():
        from l2s.models.load import HOLDS_ADAPTER

        raise UserError(f"{where}: {HOLDS_ADAPTER}")
    try:
        for path in folder.iterdir():
            if path.exists():  # no link to nothing
                require_file(path)
    except OSError as error:
        raise UserError(f"{where}: {error.filename} cannot be read ({error.strerror}); give a whole model") from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name longer than file systems take
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False


def check_topk_fits(config: ExperimentConfig) -> None:
    """If topk signals are recorded, check that the models share at least as many ids as are kept.

    Raises:
        UserError: they share fewer, or a configuration cannot be loaded.
    """
    if config.teacher_signal != "topk":
        return
    from l2s.models.load import vocabulary_size

    shared = min(vocabulary_size(name, config) for name in (config.teacher_model, config.student_model))
    if config.topk > shared:
        raise UserError(
            f"topk={config.topk}: teacher and student share only {counted(shared, 'id')}; set --topk to {shared} at "
            "most, or take --teacher_signal hidden, which is exact"
        )


def check_teacher_covers_student(config: ExperimentConfig) -> None:
    """Check that the teacher's head has at least as many rows as the student's, because TRL compares heads row by row.

    Raises:
        UserError: it has fewer, or a configuration cannot be loaded.
    """
    from l2s.models.load import vocabulary_size

    teacher, student = (vocabulary_size(name, config) for name in (config.teacher_model, config.student_model))
    if teacher < student:
        raise UserError(
            f"teacher_model={config.teacher_model!r}: its output head has {teacher} rows and the student's {student}; "
            "on-policy distillation needs at least as many in the teacher: choose another pair, or --arms sft,kd"
        )
