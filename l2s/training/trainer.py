"""One trainer for SFT and KD: the arms differ in the loss alone (SFT has alpha = 1 and no teacher).

The loss is computed inside the forward pass of the wrapped module, so DDP synchronises its gradient, and FSDP2 and
ZeRO have the output head whole. It is divided once by the number of response tokens in the global batch.

Shapes: B sequences, T positions, H hidden size, N response tokens of the batch.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, peak_memory_bytes, pick_device
from l2s.errors import UserError
from l2s.jsonl import append_jsonl, recover_jsonl, write_jsonl
from l2s.loss.fused_head import fused_distillation_loss
from l2s.loss.objective import Objective
from l2s.loss.reference import IGNORE_INDEX
from l2s.loss.targets import Targets
from l2s.models.head import logit_transform, output_head
from l2s.models.save import save_trained_student
from l2s.run_dir import RunDir
from l2s.sequences import TEACHER_PREFIX, Collator, SequenceCounts, SequenceDataset
from l2s.signals.teachers import Teacher
from l2s.training.heldout import HELDOUT_METRICS, HeldOutLoss, begin_heldout_file
from l2s.training.one_device import on_one_device
from l2s.training.progress import TrainingProgress
from l2s.training.sampler import LengthGroupedSampler
from l2s.training.sharding import keep_sums_wide

Batch = dict[str, Tensor]
LOADER_WORKERS = 2  # read signals ahead while a GPU computes; a CPU that trains has no core to spare


SFT_OBJECTIVE = Objective(alpha=1.0)


def initial_student(config: ExperimentConfig, run_dir: RunDir) -> str:
    """The model that KD and OPD start from: this experiment's SFT student, or config.student_model."""
    use_sft = config.kd_init == "sft" or (config.kd_init == "auto" and run_dir.sft_model.exists())
    return str(run_dir.sft_model) if use_sft else config.student_model


class StudentWithLoss(nn.Module):
    """A causal LM whose forward pass ends in the distillation loss instead of logits."""

    accepts_loss_kwargs = True  # the trainer hands over num_items_in_batch and leaves the division to us

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.config = student.config  # the trainer and accelerate look for it here
        self._no_split_modules = getattr(self.causal_lm, "_no_split_modules", None)  # FSDP shards by these
        self.transform = logit_transform(self.causal_lm)

    @property
    def causal_lm(self) -> Any:
        """The model without LoRA's wrapper; LoRA's layers are inside it."""
        get_base_model = getattr(self.student, "get_base_model", None)
        return self.student if get_base_model is None else get_base_model()

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        targets: Targets | None = None,
        num_items_in_batch: Tensor | int = 1,
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            input_ids, position_ids, attention_mask: [B, T].
            labels: [B, T], shifted: labels[b, t] is what position t predicts; IGNORE_INDEX is not counted.
            targets: N rows, in the row-major order of the counted labels.
            num_items_in_batch: counted labels of the global batch.

        Returns:
            `loss`, `ce` and `divergence`: sums divided by num_items_in_batch; only `loss` has a gradient.
        """
        hidden_BTH = self.causal_lm.get_decoder()(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        counted_BT = labels != IGNORE_INDEX
        sums = fused_distillation_loss(
            hidden_BTH[counted_BT],
            output_head(self.causal_lm).weight,
            labels[counted_BT],
            targets=targets,
            alpha=self.objective.alpha,
            temperature=self.objective.temperature,
            divergence=self.objective.divergence,
            beta=self.objective.beta,
            student_transform=self.transform,
        )
        return {
            "loss": sums.loss_sum / num_items_in_batch,
            "ce": sums.ce_sum / num_items_in_batch,
            "divergence": sums.divergence_sum / num_items_in_batch,
        }


class DistillationTrainer(Trainer):
    """transformers.Trainer with a teacher beside it, writing one line of metrics a step."""

    def __init__(self, *args: Any, metrics_file: Path, teacher: Teacher | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_sums_wide(self.accelerator)
        self.metrics_file = metrics_file
        self.teacher = teacher
        self._step_sums: dict[str, Tensor] = {}

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        dataset = cast(SequenceDataset, self.train_dataset)
        lengths = [len(sequence.input_ids) for sequence in dataset.sequences]
        at_a_time = self.args.train_batch_size * self.args.world_size  # ranks wait for the one with the longest batch
        return LengthGroupedSampler(lengths, at_a_time, self.args.seed, fill=self.args.world_size > 1)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Add the teacher to the batch; the model does the rest."""
        student_inputs = {name: value for name, value in inputs.items() if not name.startswith(TEACHER_PREFIX)}
        if self.teacher is not None:
            student_inputs["targets"] = cast(Any, self.teacher.targets(inputs))
        loss, outputs = super().compute_loss(
            model, student_inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        self._count("ce", outputs["ce"])
        self._count("divergence", outputs["divergence"])
        self._count("num_tokens", (inputs["labels"] != IGNORE_INDEX).sum())
        return (loss, outputs) if return_outputs else loss

    def _count(self, name: str, value: Tensor) -> None:
        self._step_sums[name] = self._step_sums.get(name, 0) + value.detach()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Complete the line of a step with the sums over its batches and ranks, and append it to the metrics file."""
        if "loss" in logs:
            require_finite(logs["loss"], self.state.global_step)
            for name, value in self._step_sums.items():
                logs[name] = self.accelerator.reduce(value.float(), reduction="sum").item()
            self._step_sums = {}
        super().log(logs, start_time)
        if "loss" in logs and self.is_world_process_zero():
            append_jsonl(self.metrics_file, [_metrics_row(self.state.global_step, logs)])

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Keep in a checkpoint the weights that are trained; the others come from the base model anyway."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or cast(str, self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        model = cast(nn.Module, self.model)
        trained = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        whole = trained if state_dict is None else {name: state_dict[name] for name in trained}
        save_file({name: weight.contiguous() for name, weight in whole.items()}, folder / "model.safetensors")

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Weights that a checkpoint leaves out are the frozen ones; one that nobody knows is an error."""
        assert not load_result.unexpected_keys, load_result.unexpected_keys


def _metrics_row(step: int, logs: dict[str, float]) -> dict[str, float]:
    names = ("epoch", "loss", "ce", "divergence", "learning_rate", "grad_norm")
    return {"step": step, **{name: logs[name] for name in names}, "num_tokens": int(logs["num_tokens"])}


@dataclass(frozen=True)
class Schedule:
    """What SFT and KD set each for themselves."""

    epochs: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class TrainingResult:
    """How a training went."""

    steps: int
    seconds: float  # of this process; a resumed run counts only its own part
    num_tokens: int  # response tokens seen in these seconds
    final_loss: float


def train_and_save(
    model: StudentWithLoss,
    dataset: SequenceDataset,
    held_out: SequenceDataset,
    counts: SequenceCounts,
    renderer: ChatRenderer,
    config: ExperimentConfig,
    schedule: Schedule,
    folder: Path,
    *,
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """Train, save the student to `folder`, and return the metrics of the stage."""
    collator = Collator(renderer.pad_token_id)
    result = train(model, dataset, collator, config, schedule, folder, teacher=teacher, held_out=held_out)
    return asdict(counts) | save_student(model.student, result, renderer, config, folder)


def save_student(
    student: nn.Module, result: TrainingResult, renderer: ChatRenderer, config: ExperimentConfig, folder: Path
) -> dict[str, Any]:
    """Save a trained student to `folder` and return what its training took."""
    peak = peak_memory_bytes(next(student.parameters()).device)
    save_trained_student(student, renderer.tokenizer, folder, config)
    return {
        "steps": result.steps,
        "seconds": result.seconds,
        "tokens_per_second": result.num_tokens / result.seconds,
        "peak_memory_bytes": peak,
        "final_loss": result.final_loss,
    }


def train(
    model: StudentWithLoss,
    dataset: SequenceDataset,
    collator: Collator,
    config: ExperimentConfig,
    schedule: Schedule,
    folder: Path,
    *,
    teacher: Teacher | None = None,
    held_out: SequenceDataset | None = None,
) -> TrainingResult:
    """Train `model` in place; a killed training resumes from the checkpoints and metrics in `folder`.

    The loss on `held_out` is followed in heldout_metrics.jsonl.
    """
    callbacks: list[TrainerCallback] = [TrainingProgress(folder.name)]
    if held_out:
        file = folder / HELDOUT_METRICS
        callbacks.insert(0, HeldOutLoss(held_out, collator, schedule.batch_size, teacher, file))
    settings = training_settings(config, schedule.batch_size, schedule.learning_rate, folder)
    trainer = DistillationTrainer(
        model=model,
        args=on_one_device(TrainingArguments(**settings, num_train_epochs=schedule.epochs)),
        data_collator=collator,
        train_dataset=dataset,
        metrics_file=folder / "metrics.jsonl",
        teacher=teacher,
        callbacks=callbacks,
    )
    return run_trainer(trainer, folder)


def run_trainer(trainer: Trainer, folder: Path) -> TrainingResult:
    """Run a trainer made with `training_settings` that appends a row a step to folder/metrics.jsonl.

    A killed training resumes from its last whole checkpoint; rows of later steps are dropped.
    """
    metrics_file = folder / "metrics.jsonl"
    checkpoint = last_whole_checkpoint(folder / "checkpoints")
    done = _step_of(checkpoint) if checkpoint else 0
    trainer.remove_callback(PrinterCallback)  # TrainingProgress takes its place
    if trainer.is_world_process_zero():
        folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(metrics_file, [row for row in recover_jsonl(metrics_file) if row["step"] <= done])
        begin_heldout_file(folder / HELDOUT_METRICS, done)
    output = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    trainer.accelerator.wait_for_everyone()  # the first process may still be writing the last line
    rows = recover_jsonl(metrics_file)
    return TrainingResult(
        steps=output.global_step,
        seconds=float(output.metrics["train_runtime"]),
        num_tokens=sum(row["num_tokens"] for row in rows if row["step"] > done),
        final_loss=rows[-1]["loss"],
    )


def training_settings(config: ExperimentConfig, batch_size: int, learning_rate: float, folder: Path) -> dict[str, Any]:
    """What all arms tell transformers' TrainingArguments, or a subclass of these."""
    on_cpu = pick_device(config).type == "cpu"
    return {
        "output_dir": str(folder / "checkpoints"),
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": config.warmup_ratio,  # below 1: a share of all steps
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "bf16": choose_dtype(config).name == "bfloat16",
        "use_cpu": on_cpu,
        "seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": config.report_to.split(","),
        "disable_tqdm": True,
        "dataloader_num_workers": 0 if on_cpu else LOADER_WORKERS,
        "remove_unused_columns": False,
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
    }


def require_finite(loss: float, step: int) -> None:
    """Stop a training whose loss has left the numbers.

    Raises:
        UserError: says what may help.
    """
    if not math.isfinite(loss):
        raise UserError(
            f"the loss of step {step} is {loss}; lower the learning rate "
            "(--sft_lr, --kd_lr, --opd_lr) or --max_grad_norm, or train with --dtype float32"
        )


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a half-written one is passed over."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())  # the trainer writes this file last
            return checkpoint
        except (OSError, ValueError):
            continue
    return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
