"""On-policy distillation: the student generates answers and learns the teacher's distribution at its own tokens.

TRL's DistillationTrainer generates, computes the loss and trains. This module supplies the prompts, models and settings
of the experiment and turns TRL's log into a metrics.jsonl like that of SFT and KD. The loss is the divergence alone, at
temperature 1. Answers are sampled at the same temperature, so the student trains on its own distribution.

Its health is followed: whether the student ends its turns at all (end_of_turn.py), what each update shows beside the
loss (agreement.py), and what shows that the training runs away (runaway.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel, TrainerControl, TrainerState, TrainingArguments

from l2s.chat import ChatRenderer, check_same_vocabulary, load_renderers
from l2s.config import ExperimentConfig
from l2s.devices import gather_from_all, pick_device, process_count, process_rank
from l2s.durable import make_folder
from l2s.errors import UserError, require_extra
from l2s.generation.engines.protocol import Sampling
from l2s.jsonl import append_jsonl, load_jsonl, recover_jsonl
from l2s.loss.divergences import ON_POLICY_BETA
from l2s.metrics import OpdMetrics
from l2s.models.attention import use_grouped_attention
from l2s.models.head import output_head
from l2s.models.load import causal_lm_of, load_model, load_student_for_training
from l2s.models.save import declare_ends
from l2s.on_disk import Made
from l2s.run_dir import ArmDir, RunDir
from l2s.sealed import read_sealed, write_sealed
from l2s.training.agreement import OVERLAP_K, MeasuresAgreement
from l2s.training.answering import AnswersInSteps, check_batches
from l2s.training.end_of_turn import EndOfTurn, sample_turns
from l2s.training.one_device import on_one_device
from l2s.training.progress import TrainingProgress
from l2s.training.prompts import Prompt, Prompts, check_teacher_fits, draw, example, load_prompts
from l2s.training.resumable import ResumableTrainer
from l2s.training.run_trainer import TrainingResult, check_step, run_trainer, save_student, training_settings
from l2s.training.runaway import Watch, all_runaways
from l2s.training.sharding import Sharding, choose_sharding, sharding_settings
from l2s.training.student import initial_student
from l2s.training.teacher_prompts import TeacherReadsItsOwn, TeacherView

if TYPE_CHECKING:
    from trl import DistillationConfig

TEMPERATURE = 1.0
FIRST_TURNS = 16  # answers sampled before the first update


def run(config: ExperimentConfig, run_dir: RunDir) -> OpdMetrics:
    """Train the student on its own answers; leaves opd/adapter, opd/final_model and opd/metrics.jsonl.

    Raises:
        UserError: TRL is missing, no prompt fits, another vocabulary, or a model that cannot be loaded or cannot take
            batches.
    """
    require_extra("trl", "trl", "run_opd (or opd among the arms)")
    renderers = load_renderers(config)
    renderer = renderers.student
    check_same_vocabulary(renderers.teacher, renderer)
    view = TeacherView(renderers.teacher, renderer)
    prompts = load_prompts(run_dir.train_data, renderer, _as_generated(config, run_dir))
    check_teacher_fits(prompts.of_teacher, view, config)
    student = load_student_for_training(initial_student(config, run_dir), config)
    if pick_device(config).type == "cuda":
        use_grouped_attention(causal_lm_of(student))  # which its answers need, and its training computes as before
    teacher = load_model(config.teacher_model, config, quantization=config.teacher_quantization)
    check_batches(student, teacher, renderers)
    arm = run_dir.arm("opd")
    turns = check_turns(student, prompts.kept, renderer, config, arm)
    result = train(student, teacher, prompts, view, config, arm.root, cut_before=turns.cut_share)
    rows = gather_from_all(load_jsonl(arm.metrics) if process_rank() == 0 else [])[0]
    found = all_runaways(rows, turns.cut_share)
    return {
        "num_prompts": len(prompts.kept),
        "dropped_overlong": prompts.dropped_overlong,
        "num_tokens": result.num_tokens,
        "first_turns": turns.metric(),
        "warnings": [*turns.warnings(config.opd_max_new_tokens), *(one.warning() for one in found)],
        **save_student(student, result, renderer, config, arm.root),
    }


def _as_generated(config: ExperimentConfig, run_dir: RunDir) -> ExperimentConfig:
    """The settings with the seed of the data, which also chose the examples in the teacher's prompts; --seeds is
    for the training alone."""
    seed = run_dir.load_config().seed if run_dir.config_file.exists() else config.seed
    return config.model_copy(update={"seed": seed})


def check_turns(
    student: nn.Module, prompts: Sequence[Prompt], renderer: ChatRenderer, config: ExperimentConfig, arm: ArmDir
) -> EndOfTurn:
    """Sample answers of the student before its first update, and say so where most of them never end.

    A resumed training reads what was found at its start.
    """
    note = arm.checkpoints / "first_turns.json"
    try:
        return EndOfTurn(**read_sealed(note))
    except (FileNotFoundError, ValueError, TypeError):
        pass
    asked = draw(prompts, FIRST_TURNS, config.seed)
    sampling = Sampling(config.opd_max_new_tokens, TEMPERATURE, seed=config.seed)
    turns = sample_turns(student, asked, renderer, sampling, config.opd_batch_size)
    if process_rank() == 0:
        print(f"opd: {turns}", flush=True)
        make_folder(note.parent)
        write_sealed(note, turns.metric())
    return turns


def train(
    student: nn.Module,
    teacher: PreTrainedModel,
    prompts: Prompts,
    view: TeacherView,
    config: ExperimentConfig,
    folder: Path,
    *,
    cut_before: float | None = None,
) -> TrainingResult:
    """Train `student` in place; a killed training resumes from the checkpoints and metrics.jsonl in `folder`.

    `cut_before` is the share of its answers that were cut before the first update, if that is known.
    """
    from trl import DistillationTrainer

    renderer = view.student
    update = config.opd_batch_size * config.gradient_accumulation_steps
    settings = _settings(update, student, renderer, config, folder)
    fit_vocabulary(teacher, len(output_head(student).weight))
    causal_lm = causal_lm_of(student)
    declare_ends(causal_lm, renderer.ends)  # TRL stops at these alone, and takes an answer without one for cut
    drawn = draw(range(len(prompts.kept)), config.opd_steps * update, config.seed)
    parts = (AnswersInSteps, MeasuresAgreement, TeacherReadsItsOwn, ResumableTrainer, DistillationTrainer)
    trainer = type("OnPolicyTrainer", parts, {})(
        renderer=renderer,
        pad_token_id=renderer.pad_token_id,
        student=causal_lm,
        teacher=teacher,
        end_id=renderer.end_id,
        model=student,
        teacher_model=teacher,
        args=settings,
        train_dataset=Made(len(drawn), lambda n: example(prompts, drawn[n], view)),
        processing_class=renderer.tokenizer_for_others(),
        callbacks=[StepLog(folder, update, math.log(len(output_head(student).weight)), Watch(config, cut_before))],
    )
    for weight in student.parameters():
        if weight.requires_grad:  # TRL casts LoRA on NF4 weights to bfloat16, in which small updates are lost
            weight.data = weight.data.float()
    return run_trainer(trainer, folder, update, opd_sharding(config))


def opd_sharding(config: ExperimentConfig) -> Sharding:
    """The sharding of this arm: DeepSpeed's where it is asked for, else ddp on several ranks."""
    sharding = choose_sharding(config)
    return "ddp" if sharding == "fsdp2" else sharding


def _settings(
    update: int, student: nn.Module, renderer: ChatRenderer, config: ExperimentConfig, folder: Path
) -> DistillationConfig:
    """TRL's settings for updates of `update` prompts."""
    from trl import DistillationConfig

    batch_size, accumulation = share_update(update, config.opd_batch_size, process_count())
    beta = ON_POLICY_BETA[config.opd_divergence]
    shared = training_settings(config, batch_size, config.opd_lr, folder)
    sharded = {} if opd_sharding(config) == "ddp" else sharding_settings(config, student)
    settings = DistillationConfig(
        **shared | sharded | {"gradient_accumulation_steps": accumulation},
        num_train_epochs=1,
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_completion_length=config.opd_max_new_tokens,
        temperature=TEMPERATURE,
        beta=config.divergence_beta if beta is None else beta,
        chat_template_kwargs=renderer.template_arguments,
        shuffle_dataset=False,
    )
    return on_one_device(settings)


def share_update(prompts: int, at_a_time: int, ranks: int) -> tuple[int, int]:
    """Batch size and number of batches of each rank, for one update of `prompts`; TRL needs them equal on all ranks.

    Raises:
        UserError: the prompts cannot be shared equally.
    """
    if prompts % ranks:
        raise UserError(
            f"opd_batch_size={at_a_time}: an update of {prompts} prompts cannot be shared equally by {ranks} ranks; "
            f"set it, or gradient_accumulation_steps, so that {ranks} divides their product"
        )
    own = prompts // ranks
    batch_size = max(size for size in range(1, min(at_a_time, own) + 1) if own % size == 0)
    return batch_size, own // batch_size


def fit_vocabulary(teacher: PreTrainedModel, rows: int) -> None:
    """Cut the teacher's head to `rows` rows: TRL needs heads of one size, and the rows above are padding."""
    if len(output_head(teacher).weight) > rows:
        teacher.resize_token_embeddings(rows)
        teacher.requires_grad_(False)


class StepLog(TrainingProgress):
    """Turns TRL's log of a step into a row of metrics.jsonl, prints the progress, and watches for a runaway."""

    def __init__(self, folder: Path, prompts_a_step: int, loss_of_guessing: float, watch: Watch) -> None:
        super().__init__(folder.name)
        self.metrics_file = ArmDir(folder).metrics
        self.prompts_a_step = prompts_a_step
        self.loss_of_guessing = loss_of_guessing
        self.watch = watch

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read the rows of the steps before a resumed training."""
        super().on_train_begin(args, state, control, **kwargs)
        has_rows = state.is_world_process_zero and self.metrics_file.exists()
        self.watch.remember(gather_from_all(recover_jsonl(self.metrics_file) if has_rows else [])[0])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append a row if `logs` belong to a step.

        Raises:
            UserError: the training cannot recover, or it runs away and `opd_runaway` is stop.
        """
        if logs is None or "loss" not in logs:
            return
        row = _metrics_row(state.global_step, logs, self.prompts_a_step)
        check_step(row, state.global_step, self.loss_of_guessing)
        if state.is_world_process_zero:
            append_jsonl(self.metrics_file, [row])
        super().on_log(args, state, control, logs=row, **kwargs)
        for found in self.watch.look(row):
            if state.is_world_process_zero:
                print(f"{self.label}: {found}", flush=True)

    def details(self, row: Mapping[str, float]) -> str:
        """The health of a step, for the line on the console."""
        return (
            f", {row['mean_length']:.0f} tokens an answer, {row['truncated']:.0%} cut, "
            f"top-{OVERLAP_K} overlap {row['top_k_overlap']:.0%}, reverse KL {row['reverse_kl']:.3f}"
        )


def _metrics_row(step: int, logs: dict[str, float], prompts: int) -> dict[str, float]:
    """One step: the mean divergence (the whole loss) and the student's entropy, in nats a token of its answers.

    The other figures show its health: the mean length of the answers in tokens, the share that opd_max_new_tokens cut
    (`truncated`), the share that closes with the template's end of turn (`ended`; others were cut or stopped at another
    end token), and how far student and teacher agree (agreement.py).
    """
    return {
        "step": step,
        "epoch": logs["epoch"],
        "loss": logs["loss"],
        "divergence": logs["loss"],
        "entropy": logs["entropy"],
        "learning_rate": logs["learning_rate"],
        "grad_norm": logs["grad_norm"],
        "num_tokens": round(logs["completions/mean_length"] * prompts),  # TRL's count is cumulative, with prompts
        "mean_length": logs["completions/mean_length"],
        "truncated": logs["completions/clipped_ratio"],
        "ended": logs["ended"],
        "top_k_overlap": logs["top_k_overlap"],
        "reverse_kl": logs["reverse_kl"],
    }
