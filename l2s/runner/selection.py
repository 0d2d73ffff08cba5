"""Which stages of the pipeline a run selects, from its flags and its arms, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Iterable

from l2s.arms import ARMS, COPY, original
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines.table import choose_engine
from l2s.models import demo
from l2s.run_dir import RunDir
from l2s.runner.pipeline import Stage, all_stages

_ASKS_FOR = {
    "run_prepare": ("prepare",),
    "run_generate": ("generate",),
    "run_score": ("score",),
    **{f"run_{arm}": (arm,) for arm in ARMS},
    "run_eval": ("evaluate_teacher", "evaluate_student_base", "report"),
}


def settle(config: ExperimentConfig) -> ExperimentConfig:
    """Resolve values that stand for others: auto of the engines and kd_init, and demo models, which become folders.

    kd_init=auto is sft if the experiment trains an SFT student or already has one. The engine is chosen once for all
    stages. As the user did not set it, results of another engine that only other stages need are used as they are.
    """
    if config.engine == "auto":
        config = config.model_copy(update={"engine": choose_engine(config).name})
        config.model_fields_set.discard("engine")
    if config.engine == "endpoint" and config.weights_engine == "auto":
        config = config.model_copy(update={"weights_engine": choose_engine(config, weights=True).name})
        config.model_fields_set.discard("weights_engine")
    folders = {name: demo.locate(getattr(config, name)) for name in ("teacher_model", "student_model")}
    if config.kd_init != "auto":
        return config.model_copy(update=folders)
    has_sft = "run_sft" in _run_flags(config) or RunDir.of(config).has_finished("sft")
    return config.model_copy(update={**folders, "kd_init": "sft" if has_sft else "base"})


def requested_stages(config: ExperimentConfig) -> set[str]:
    """Names of the stages that the run flags ask for directly.

    Raises:
        UserError: no run flag is set.
    """
    flags = _run_flags(config)
    if not flags:
        raise UserError(f"nothing to run: add --run_all, or some of {', '.join('--' + flag for flag in _ASKS_FOR)}")
    requested = {name for flag in flags for name in _ASKS_FOR[flag]}
    if "run_eval" in flags:
        for arm in ARMS:
            if arm in requested or (not config.run_all and RunDir.of(config).has_finished(arm)):
                requested.add(f"evaluate_student_{arm}")
    if config.lm_eval_tasks:  # the copies of an arm differ in their seed alone: the harness runs on one of them
        evaluated = {name.removeprefix("evaluate_") for name in requested if name.startswith("evaluate_")}
        requested |= {f"lm_eval_{model}" for model in evaluated}
    requested |= {stage.name for stage in all_stages(config) if _is_wanted_copy(stage, requested, config)}
    if config.run_all:  # every stage that the configuration uses, so that all are checked against it
        requested |= {stage.name for stage in _closure(requested, config)}
    return requested


def flag_of(stage: Stage) -> str:
    """The run flag that asks for `stage`."""
    names = (flag for flag, stages in _ASKS_FOR.items() if stage.original in stages)
    return next(names, "run_eval")  # which asks for the evaluation of any student


def _is_wanted_copy(stage: Stage, requested: set[str], config: ExperimentConfig) -> bool:
    """Whether a copy is asked for like its original. An evaluation alone trains none: it takes those that are there."""
    if COPY not in stage.name or stage.original not in requested:
        return False
    arm = stage.needs[-1]
    return stage.original in ARMS or original(arm) in requested or RunDir.of(config).has_finished(arm)


def _run_flags(config: ExperimentConfig) -> list[str]:
    """The run flags in force. run_all stands for those of the data, the arms and the evaluation."""
    of_all = {"run_prepare", *(f"run_{arm}" for arm in config.arms.split(",")), "run_eval"} if config.run_all else set()
    return [flag for flag in _ASKS_FOR if getattr(config, flag) or flag in of_all]


def select_stages(config: ExperimentConfig) -> list[Stage]:
    """The requested stages and all that they need, ordered so that each follows its needs."""
    return _closure(requested_stages(config), config)


def needs_of(stage: Stage, config: ExperimentConfig) -> list[str]:
    """The stages that `stage` waits for under this configuration."""
    unused: set[str] = set()
    if stage.original == "kd" and config.teacher_signal == "online":
        unused.add("score")
    if stage.original in ARMS and config.kd_init == "base":
        unused.add(ARMS[stage.original].starts_from or "")
    if stage.name.startswith("evaluate_") and not config.measures_fidelity:
        unused.add("evaluate_teacher")
    return [name for name in stage.needs if original(name) not in unused]


def _closure(names: Iterable[str], config: ExperimentConfig) -> list[Stage]:
    stages = all_stages(config)
    by_name = {stage.name: stage for stage in stages}
    wanted, queue = set(names), list(names)
    while queue:
        stage = by_name[queue.pop()]
        if stage.always_run:  # a report shows what exists; it makes no stage run
            continue
        new = set(needs_of(stage, config)) - wanted
        wanted |= new
        queue += new
    return [stage for stage in stages if stage.name in wanted]
