"""Time of a KD step with each kind of teacher signal, compared with an SFT step on the same batch.

    python benchmarks/kd_step.py --pair qwen2.5-coder --rounds 5 --json kd_step.json
    python benchmarks/kd_step.py --teacher DIR --student DIR --rounds 7

A step reads the batch, gets the teacher's targets, runs the student forward and backward, and updates its LoRA weights.
Every round runs each arm once on the same batch, in rotating order; ratios are medians over rounds. A second table
splits the time of a step into phases. Models come from two folders, or have the sizes of the named pair and random
weights, which do not affect the time. So nothing is downloaded. The tokens are random.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.config import ExperimentConfig, resolve_config
from l2s.devices import pick_device, torch_dtype
from l2s.loss.fused_head import fused_distillation_loss
from l2s.loss.objective import Objective
from l2s.models.load import load_model, prepare_for_training
from l2s.sequences import TEACHER_PREFIX, Collator, SequenceDataset, TrainingSequence
from l2s.signals.hidden import ModelHidden
from l2s.signals.record import record_signals
from l2s.signals.store import SignalKind, SignalSource, hash_sequences, read_signals
from l2s.signals.teachers import OnlineTeacher, StoredTeacher, Teacher
from l2s.training.kd import kd_objective
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss

PHASES = ("read", "teacher", "forward", "head", "backward", "update")  # head: loss and its gradient, teacher's logits


@dataclass(frozen=True)
class Size:
    """The sizes that decide a model's time."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


PAIRS = {  # teacher, student
    "smollm2": (Size(576, 1536, 30, 9, 3, 49152), Size(576, 1536, 15, 9, 3, 49152)),
    "qwen2.5-coder": (Size(1536, 8960, 28, 12, 2, 151936), Size(896, 4864, 24, 14, 2, 151936)),
}


@dataclass(frozen=True)
class Arm:
    """One way to train on the same sequences."""

    name: str
    dataset: SequenceDataset
    teacher: Teacher | None
    objective: Objective


@dataclass(frozen=True)
class Result:
    """Medians over the rounds."""

    arm: str
    seconds: float
    ratio_to_sft: float  # ratio of times
    speedup_to_online: float  # ratio of answer tokens per second
    tokens_per_second: float  # answer tokens
    bytes_per_token: int  # bytes of the signal on disk
    phases: dict[str, float]  # seconds


class Stopwatch:
    """Seconds of the phases of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = self._now()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to `phase`."""
        now = self._now()
        self.seconds[phase] += now - self._last
        self._last = now

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def build_model(size: Size, config: ExperimentConfig) -> PreTrainedModel:
    """A model of these sizes with random weights."""
    torch.manual_seed(0)
    model_config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        tie_word_embeddings=False,
    )
    model = cast(Any, AutoModelForCausalLM).from_config(model_config, dtype=torch_dtype(config))
    return cast(PreTrainedModel, model.to(pick_device(config)))


def build_sequences(count: int, prompt: int, answer: int, vocabulary: int) -> list[TrainingSequence]:
    """Random tokens; answers between half and the whole of `answer` tokens."""
    generator = random.Random(0)
    sequences = []
    for number in range(count):
        length = generator.randint(answer // 2, answer)
        tokens = [generator.randrange(vocabulary) for _ in range(prompt + length)]
        sequences.append(TrainingSequence(str(number), tokens, [-100] * prompt + tokens[prompt:]))
    return sequences


def build_arms(
    teacher: PreTrainedModel, sequences: list[TrainingSequence], config: ExperimentConfig, folder: Path
) -> list[Arm]:
    """SFT, and KD from each signal; the stored ones are recorded to `folder` first."""
    kd = kd_objective(config)
    arms = [Arm("sft", SequenceDataset(sequences), None, SFT_OBJECTIVE)]
    kinds: tuple[SignalKind, ...] = ("hidden", "topk")
    for kind in kinds:
        settings = (config.topk, config.temperature) if kind == "topk" else (None, None)
        source = SignalSource(kind, "random", "none", "none", hash_sequences(sequences), config.dtype, *settings)
        record_signals(ModelHidden(teacher), sequences, folder / kind, source)
        store = read_signals(folder / kind)
        arms.append(Arm(kind, SequenceDataset(sequences, store), StoredTeacher(store, teacher.device), kd))
    return [*arms, Arm("online", SequenceDataset(sequences), OnlineTeacher(teacher), kd)]


def step(arm: Arm, student: StudentWithLoss, optimizer: torch.optim.Optimizer, indices: list[int]) -> dict[str, float]:
    """One update on the sequences at `indices`; returns the seconds of its phases."""
    watch = Stopwatch()

    def timed_head(*args: Any, **kwargs: Any) -> Any:
        watch.lap("forward")
        sums = fused_distillation_loss(*args, **kwargs)
        watch.lap("head")
        return sums

    device = next(student.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in Collator(0)([arm.dataset[i] for i in indices]).items()}
    inputs: dict[str, Tensor] = {name: value for name, value in batch.items() if not name.startswith(TEACHER_PREFIX)}
    watch.lap("read")
    targets = None if arm.teacher is None else arm.teacher.targets(batch)
    watch.lap("teacher")
    student.objective = arm.objective
    mixed = student.config.dtype == torch.bfloat16
    autocast = torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()
    with autocast, mock.patch("l2s.training.student.fused_distillation_loss", timed_head):
        loss = student(**inputs, targets=targets, num_items_in_batch=int((batch["labels"] != -100).sum()))["loss"]
    watch.lap("forward")
    loss.backward()
    watch.lap("backward")
    optimizer.step()
    optimizer.zero_grad()
    watch.lap("update")
    return watch.seconds


def measure(arms: list[Arm], student: StudentWithLoss, batches: list[list[int]]) -> dict[str, list[dict[str, float]]]:
    """Seconds of every arm's phases in every round. A round is one batch; one more round warms up."""
    optimizer = torch.optim.AdamW([weight for weight in student.parameters() if weight.requires_grad])
    rounds: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in arms}
    for number, indices in enumerate([batches[0], *batches]):
        turn = number % len(arms)
        for arm in arms[turn:] + arms[:turn]:
            rounds[arm.name].append(step(arm, student, optimizer, indices))
        print(f"round {number}: " + ", ".join(f"{name} {sum(r[-1].values()):.2f} s" for name, r in rounds.items()))
    return {name: laps[1:] for name, laps in rounds.items()}


def summarise(rounds: dict[str, list[dict[str, float]]], tokens: list[int], arms: list[Arm]) -> list[Result]:
    """Medians over rounds of times, and of ratios within a round."""
    seconds = {name: [sum(phases.values()) for phases in laps] for name, laps in rounds.items()}
    results = []
    for arm in arms:
        times = seconds[arm.name]
        row = arm.dataset[0].get("signals", {})
        results.append(
            Result(
                arm=arm.name,
                seconds=statistics.median(times),
                ratio_to_sft=statistics.median(a / b for a, b in zip(times, seconds["sft"], strict=True)),
                speedup_to_online=statistics.median(b / a for a, b in zip(times, seconds["online"], strict=True)),
                tokens_per_second=statistics.median(n / t for n, t in zip(tokens, times, strict=True)),
                bytes_per_token=sum(tensor[0].numel() * tensor.element_size() for tensor in row.values()),
                phases={
                    phase: statistics.median(laps.get(phase, 0.0) for laps in rounds[arm.name]) for phase in PHASES
                },
            )
        )
    return results


def print_tables(results: list[Result]) -> None:
    print("\n| arm | s a step | to SFT | speed to online | answer tokens/s | bytes a token |")
    print("|---|---:|---:|---:|---:|---:|")
    for r in results:
        print(
            f"| {r.arm} | {r.seconds:.3g} | {r.ratio_to_sft:.2f} | {r.speedup_to_online:.2f} "
            f"| {r.tokens_per_second:.1f} | {r.bytes_per_token:,} |"
        )
    print(f"\n| seconds in | {' | '.join(PHASES)} |")
    print("|---" + "|---:" * len(PHASES) + "|")
    for r in results:
        print(f"| {r.arm} | " + " | ".join(f"{r.phases[phase]:.3f}" for phase in PHASES) + " |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, default="smollm2", help="sizes of models with random weights")
    parser.add_argument("--teacher", help="folder of a teacher to take instead")
    parser.add_argument("--student", help="folder of a student to take instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=96, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, default=160, help="most tokens of an answer")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    config = resolve_config({"dtype": arguments.dtype, "tuning": "lora", "gradient_checkpointing": False})
    sizes = PAIRS[arguments.pair]
    teacher, base = (
        load_model(folder, config) if folder else build_model(size, config)
        for folder, size in zip((arguments.teacher, arguments.student), sizes, strict=True)
    )
    vocabulary = base.config.vocab_size
    teacher.requires_grad_(False).train(False)
    student = StudentWithLoss(prepare_for_training(base, config), SFT_OBJECTIVE)
    count = arguments.rounds * arguments.batch_size
    sequences = build_sequences(count, arguments.prompt, arguments.answer, vocabulary)
    batches = [list(range(i, i + arguments.batch_size)) for i in range(0, count, arguments.batch_size)]
    tokens = [sum(sequences[i].num_response_tokens for i in batch) for batch in batches]
    with tempfile.TemporaryDirectory() as folder:
        arms = build_arms(teacher, sequences, config, Path(folder))
        results = summarise(measure(arms, student, batches), tokens, arms)
    print_tables(results)
    if arguments.json:
        machine = {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        settings = {name: str(value) for name, value in vars(arguments).items()}
        content = {"machine": machine, "settings": settings, "results": [asdict(result) for result in results]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
