"""The experiment as a graph of stages: what each reads, needs and gives.

Nothing heavy is imported: a stage names its function as text, and its own process imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from l2s.arms import ARMS, copy_name, original
from l2s.config import ExperimentConfig, ModelField
from l2s.generation.context import context_files
from l2s.run_dir import SIGNAL_INDEX, SIGNALS_SHARED, RunDir, replica_logs
from l2s.tasks.table import TASKS, tasks_of

Spread = Literal["none", "one", "replicas", "ranks"]
Paths = Callable[[RunDir, ExperimentConfig], list[Path]]

# Configuration fields by what they affect; a stage runs again only if a field that it reads has changed.
DATA = ("seed", "domains", *chain.from_iterable(task.reads() for task in TASKS.values()))
GRADES = tuple(chain.from_iterable(task.grading for task in TASKS.values()))
MODEL = ("dtype", "device", "trust_remote_code", "thinking", "prompt_date")
ANSWERS = (*MODEL, "engine", "seed", "teacher_quantization", "max_new_tokens", *GRADES)
ENDPOINT = ("endpoint_model", "endpoint_body")
TEACHER_ANSWERS = (
    *ANSWERS, "answers", "generation_batch_size", "sampling_temperature", "sampling_top_p", "keep_correct", "max_tries",
    "retry_temperature", "answers_per_item", "teacher_context", *ENDPOINT,
)  # fmt: skip
SEQUENCES = (*MODEL, "max_length", "overlong")
TRAINING = (
    *SEQUENCES, "seed", "tuning", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules",
    "gradient_checkpointing", "gradient_accumulation_steps", "warmup_ratio", "lr_scheduler", "weight_decay",
    "max_grad_norm", "merge_weight",
)  # fmt: skip
LM_EVAL = (
    *MODEL, "teacher_quantization", "lm_eval_tasks", "lm_eval_limit", "lm_eval_batch_size", "lm_eval_include_path",
)  # fmt: skip
SIGNALS = (*SEQUENCES, "engine", "weights_engine", "teacher_signal", "teacher_quantization", "topk", "temperature")
KD_LOSS = ("alpha", "temperature", "divergence", "divergence_beta", "teacher_signal", "teacher_quantization", "topk")
OPD = (
    "teacher_quantization", "teacher_context", "kd_init", "opd_steps", "opd_batch_size", "opd_lr", "opd_max_new_tokens",
    "opd_divergence", "divergence_beta",
)  # fmt: skip


@dataclass(frozen=True)
class Resources:
    """The devices that a stage can use, for placement on this machine, on a cluster, or in a plan.

    Attributes:
        spread: how several devices share the work. none: it uses no device. one: it uses one device. replicas:
            processes that each hold the models and take a share of the requests. ranks: the processes of one torchrun.
        holds: the models that each process has in memory at a time.
        share: its share of the devices, relative to stages that run beside it.
        alone: it takes every device, and no other stage starts beside it, because all important stages wait for it.
        batch_size: field with the sequences of a micro-batch, if ranks share an update.
    """

    spread: Spread = "one"
    holds: frozenset[Literal["teacher", "student"]] = frozenset()
    share: int = 1
    alone: bool = False
    batch_size: Literal["sft_batch_size", "kd_batch_size", "opd_batch_size"] | None = None


@dataclass(frozen=True)
class Stage:
    """One step of the experiment.

    Attributes:
        name: its name in manifests, logs and on the console.
        function: "module:function", called as function(config, run_dir, **arguments) -> metrics.
        reads: configuration fields that affect the result.
        needs: stages whose results it reads.
        inputs: files and folders that it reads.
        gives: files and folders that it writes.
        logs: files that it may write besides, for the report.
        scratch: files that a killed stage resumes from.
        first_reads: files of its other processes that the first one reads while they run.
        others_read: files of the first process that the others read.
        models: configuration fields that name models it loads.
        resources: devices that it can use.
        arguments: keyword arguments of the function.
        unread: those of `reads` that decide nothing under a configuration.
        always_run: runs every time, without a check whether it is up to date.
        seed: the seed that it trains with; None: that of the configuration.
        copy: the seed of the copies of the arms whose folders it reads and writes; None: the arms' own.
    """

    name: str
    function: str
    reads: tuple[str, ...]
    needs: tuple[str, ...]
    inputs: Paths
    gives: Paths
    logs: Paths = lambda run_dir, config: []
    scratch: Paths = lambda run_dir, config: []
    first_reads: Paths = lambda run_dir, config: []
    others_read: Paths = lambda run_dir, config: []
    models: tuple[ModelField, ...] = ()
    resources: Resources = Resources()
    arguments: dict[str, str] = field(default_factory=dict)
    unread: Callable[[ExperimentConfig], set[str]] = lambda config: set()
    always_run: bool = False
    seed: int | None = None
    copy: int | None = None

    @property
    def original(self) -> str:
        """The name of the stage that it does the work of: sft for the stage sft@2."""
        return original(self.name)

    def settings(self, config: ExperimentConfig) -> ExperimentConfig:
        """The configuration as the stage sees it."""
        return config if self.seed is None else config.model_copy(update={"seed": self.seed})


def _evaluation_of(model: str, *, needs: tuple[str, ...], weights: Paths, models: tuple[ModelField, ...]) -> Stage:
    """The stage that evaluates one model. The teacher's comes first where fidelity is measured on its answers."""
    is_teacher = model == "teacher"

    def inputs(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
        read = [run_dir.eval_data, *_grader_files(config), *weights(run_dir, config)]
        of_teacher = [run_dir.evaluation_signals, run_dir.predictions("teacher")]
        return [*read, *of_teacher] if config.measures_fidelity and not is_teacher else read

    def gives(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
        own = [run_dir.predictions(model), run_dir.fidelity(model)]
        return [*own, *_signals(run_dir.evaluation_signals)] if is_teacher and config.measures_fidelity else own

    return Stage(
        name=f"evaluate_{model}",
        function="l2s.evaluation.evaluate:run",
        reads=(*ANSWERS, "weights_engine", "eval_batch_size", "fidelity_size", *(ENDPOINT if is_teacher else ())),
        unread=lambda config: _unread_engine(config, is_teacher=is_teacher),
        needs=("prepare", *needs),
        inputs=inputs,
        gives=gives,
        scratch=lambda run_dir, config: [
            run_dir.prediction_log(model),
            replica_logs(run_dir.prediction_log(model)),
        ],
        first_reads=lambda run_dir, config: [replica_logs(run_dir.prediction_log(model))],
        models=models,
        resources=Resources(
            "replicas", frozenset({"teacher"} if is_teacher else {"student"}), share=2 if is_teacher else 1
        ),
        arguments={"model": model},
    )


def _unread_engine(config: ExperimentConfig, *, is_teacher: bool = False) -> set[str]:
    """`weights_engine` where it decides nothing: without an endpoint, and for a teacher that is only behind one."""
    decides = config.engine == "endpoint" and not (is_teacher and config.remote_teacher)
    return set() if decides else {"weights_engine"}


def _grader_files(config: ExperimentConfig) -> list[Path]:
    return [path for task in tasks_of(config).values() for path in task.grader_files(config)]


def _signals(folder: Path) -> list[Path]:
    """A folder of teacher signals. A reader that finds a damaged file removes the index, and scoring resumes."""
    return [folder, folder / SIGNAL_INDEX]


def _lm_eval_after(evaluation: Stage) -> Stage:
    """The stage that runs lm-evaluation-harness on the model of an evaluation; it is selected with that evaluation."""
    model = evaluation.arguments["model"]

    def inputs(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
        own = [config.lm_eval_include_path] if config.lm_eval_include_path else []
        return own if evaluation.models else [*own, Path(run_dir.weights(model, config))]

    return Stage(
        name=f"lm_eval_{model}",
        function="l2s.evaluation.lm_eval:run",
        reads=LM_EVAL,
        needs=(evaluation.name,),
        inputs=inputs,
        gives=lambda run_dir, config: [run_dir.lm_eval(model)],
        scratch=lambda run_dir, config: [run_dir.lm_eval_answers(model)],
        models=evaluation.models,
        resources=Resources("one", evaluation.resources.holds),
        arguments=evaluation.arguments,
    )


def _trained(arm: str) -> Paths:
    """The outputs of training in the folder of an arm; with LoRA also an adapter."""

    def gives(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
        folder = run_dir.arm(arm)
        return [folder.final_model, folder.metrics, *([] if config.tuning == "full" else [folder.adapter])]

    return gives


def _kd_inputs(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
    signals = [] if config.teacher_signal == "online" else [run_dir.teacher_signals]
    return [run_dir.responses, *signals, *_sft_init(run_dir, config)]


def _sft_init(run_dir: RunDir, config: ExperimentConfig) -> list[Path]:
    return [run_dir.sft_model] if config.kd_init == "sft" else []


_EVALUATIONS = (
    _evaluation_of("teacher", needs=(), weights=lambda r, c: [], models=("teacher_model", "student_model")),
    _evaluation_of("student_base", needs=("evaluate_teacher",), weights=lambda r, c: [], models=("student_model",)),
    *(
        _evaluation_of(
            arm.model.name,
            needs=("evaluate_teacher", arm.name),
            weights=lambda r, c, name=arm.name: [r.arm(name).final_model],  # type: ignore[misc]
            models=(),
        )
        for arm in ARMS.values()
    ),
)
_TABLE = (
    Stage(
        name="prepare",
        function="l2s.tasks.prepare:run",
        reads=DATA,
        needs=(),
        inputs=lambda run_dir, config: [path for task in tasks_of(config).values() for path in task.files(config)],
        gives=lambda run_dir, config: [run_dir.train_data, run_dir.eval_data],
        resources=Resources("none"),
    ),
    Stage(
        name="generate",
        function="l2s.generation.generate:run",
        reads=TEACHER_ANSWERS,
        needs=("prepare",),
        inputs=lambda run_dir, config: [run_dir.train_data, *_grader_files(config), *context_files(config)],
        gives=lambda run_dir, config: [run_dir.responses, run_dir.rejected],
        logs=lambda run_dir, config: [run_dir.never_right],
        scratch=lambda run_dir, config: [run_dir.answer_log],
        first_reads=lambda run_dir, config: [run_dir.answer_log],
        others_read=lambda run_dir, config: [run_dir.asked(attempt) for attempt in range(1, config.most_tries)],
        models=("teacher_model", "student_model"),
        resources=Resources("replicas", frozenset({"teacher"}), share=8, alone=True),
    ),
    Stage(
        name="score",
        function="l2s.signals.score:run",
        reads=SIGNALS,
        unread=lambda config: (
            _unread_engine(config) | (set() if config.teacher_signal == "topk" else {"temperature", "topk"})
        ),
        needs=("generate",),
        inputs=lambda run_dir, config: [run_dir.responses],
        gives=lambda run_dir, config: _signals(run_dir.teacher_signals),
        scratch=lambda run_dir, config: [run_dir.teacher_signals],
        others_read=lambda run_dir, config: [
            (run_dir.teacher_signals / SIGNALS_SHARED).with_suffix(suffix) for suffix in (".safetensors", ".json")
        ],
        models=("teacher_model", "student_model"),
        resources=Resources("ranks", frozenset({"teacher"}), share=2),
    ),
    Stage(
        name="sft",
        function="l2s.training.sft:run",
        reads=(*TRAINING, "heldout_answers", "sft_epochs", "sft_batch_size", "sft_lr"),
        needs=("generate",),
        inputs=lambda run_dir, config: [run_dir.responses],
        gives=_trained("sft"),
        logs=lambda run_dir, config: [run_dir.arm("sft").heldout_metrics],
        scratch=lambda run_dir, config: [run_dir.arm("sft").checkpoints],
        models=("student_model",),
        resources=Resources("ranks", frozenset({"student"}), share=4, batch_size="sft_batch_size"),
    ),
    Stage(
        name="kd",
        function="l2s.training.kd:run",
        reads=(*TRAINING, *KD_LOSS, "heldout_answers", "kd_init", "kd_epochs", "kd_batch_size", "kd_lr"),
        needs=("generate", "score", "sft"),
        inputs=_kd_inputs,
        gives=_trained("kd"),
        logs=lambda run_dir, config: [run_dir.arm("kd").heldout_metrics],
        scratch=lambda run_dir, config: [run_dir.arm("kd").checkpoints],
        models=("teacher_model", "student_model"),
        resources=Resources("ranks", frozenset({"teacher", "student"}), share=4, batch_size="kd_batch_size"),
    ),
    Stage(
        name="opd",
        function="l2s.training.on_policy:run",
        reads=(*TRAINING, *OPD),
        needs=("prepare", "sft"),
        inputs=lambda run_dir, config: [run_dir.train_data, *context_files(config), *_sft_init(run_dir, config)],
        gives=_trained("opd"),
        scratch=lambda run_dir, config: [run_dir.arm("opd").checkpoints],
        models=("teacher_model", "student_model"),
        resources=Resources("ranks", frozenset({"teacher", "student"}), share=4, batch_size="opd_batch_size"),
    ),
    *_EVALUATIONS,
    *map(_lm_eval_after, _EVALUATIONS),
    Stage(
        name="report",
        function="l2s.report.stage:run",
        reads=("lang",),
        needs=("evaluate_teacher", "evaluate_student_base", *(f"evaluate_student_{arm}" for arm in ARMS)),
        inputs=lambda run_dir, config: [],
        gives=lambda run_dir, config: [run_dir.results],
        resources=Resources("none"),
        always_run=True,
    ),
)
STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}  # without the copies that --seeds asks for


def all_stages(config: ExperimentConfig) -> list[Stage]:
    """Every stage in pipeline order. With `seeds`, each arm has a copy for each further seed: sft@2, kd@2 and so on.

    Copies train on the same answers and signals, each on its own SFT student, and are evaluated like the arms.
    """
    if not config.seeds:
        return list(_TABLE)
    first, *others = config.training_seeds
    *work, report = [replace(stage, seed=first) if stage.name in ARMS else stage for stage in _TABLE]
    copies = [copy for seed in others for copy in _copies(seed)]
    evaluations = tuple(copy.name for copy in copies if copy.original not in ARMS)
    return [*work, *copies, replace(report, needs=(*report.needs, *evaluations))]


def stage_of(name: str, config: ExperimentConfig) -> Stage:
    """The stage of this name under a configuration."""
    return next(stage for stage in all_stages(config) if stage.name == name)


def _copies(seed: int) -> list[Stage]:
    """The stages that train and evaluate every arm with another seed."""
    copied = {*ARMS, *(f"evaluate_{arm.model.name}" for arm in ARMS.values())}
    return [_copy(STAGES[name], seed, copied) for name in STAGES if name in copied]


def _copy(stage: Stage, seed: int, copied: set[str]) -> Stage:
    """`stage` for the arms' copies with `seed`; it needs the copies of those stages that have one."""
    if stage.name not in ARMS:
        arm = stage.needs[-1]
        return _evaluation_of(
            copy_name(stage.arguments["model"], seed),
            needs=("evaluate_teacher", copy_name(arm, seed)),
            weights=lambda run_dir, config: [run_dir.of_copy(seed).arm(arm).final_model],
            models=(),
        )

    def of_copy(paths: Paths) -> Paths:
        return lambda run_dir, config: paths(run_dir.of_copy(seed), config)

    return replace(
        stage,
        name=copy_name(stage.name, seed),
        needs=tuple(copy_name(name, seed) if name in copied else name for name in stage.needs),
        inputs=of_copy(stage.inputs),
        gives=of_copy(stage.gives),
        logs=of_copy(stage.logs),
        scratch=of_copy(stage.scratch),
        seed=seed,
        copy=seed,
    )
