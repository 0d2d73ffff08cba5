"""Time of a KD step from each kind of teacher signal, against an SFT step of the same batch.

    python benchmarks/kd_step.py --pair qwen2.5-coder --rounds 5 --json kd_step.json

A step reads the batch, asks the teacher, runs the student forward and backward, and updates its LoRA weights. Every
round runs each arm once on the same batch, in an order that turns; ratios are medians over rounds. The models have the
sizes of the named pair and random weights, on which time does not depend, so nothing is downloaded.
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
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.config import ExperimentConfig, resolve_config
from l2s.models import pick_device, prepare_for_training, torch_dtype
from l2s.teacher.score import score_sequences
from l2s.teacher.signals import OnlineTeacher, SignalKind, SignalSource, StoredTeacher, hash_sequences, read_signals
from l2s.training.dataset import TEACHER_PREFIX, Collator, SequenceDataset, TrainingSequence
from l2s.training.trainer import SFT_OBJECTIVE, Objective, StudentWithLoss, TeacherSource

ARMS = ("sft", "hidden", "topk", "online")


@dataclass(frozen=True)
class Size:
    """What decides a model's time."""

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
    teacher: TeacherSource | None
    objective: Objective


@dataclass(frozen=True)
class Result:
    """Medians over the rounds."""

    arm: str
    seconds: float
    ratio_to_sft: float  # of times
    speedup_to_online: float  # of answer tokens per second
    tokens_per_second: float  # answer tokens
    bytes_per_token: int  # that the signal takes on disk


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
    kd = Objective.of(config)
    arms = [Arm("sft", SequenceDataset(sequences), None, SFT_OBJECTIVE)]
    kinds: tuple[SignalKind, ...] = ("hidden", "topk")
    for kind in kinds:
        settings = (config.topk, config.temperature) if kind == "topk" else (None, None)
        source = SignalSource(kind, "random", "none", "none", hash_sequences(sequences), config.dtype, *settings)
        score_sequences(teacher, sequences, folder / kind, source)
        store = read_signals(folder / kind)
        arms.append(Arm(kind, SequenceDataset(sequences, store), StoredTeacher(store, teacher.device), kd))
    return [*arms, Arm("online", SequenceDataset(sequences), OnlineTeacher(teacher), kd)]


def step(arm: Arm, student: StudentWithLoss, optimizer: torch.optim.Optimizer, indices: list[int]) -> None:
    """One update on the sequences at `indices`."""
    device = next(student.parameters()).device
    batch = {name: tensor.to(device) for name, tensor in Collator(0)([arm.dataset[i] for i in indices]).items()}
    inputs: dict[str, Tensor] = {name: value for name, value in batch.items() if not name.startswith(TEACHER_PREFIX)}
    word = None if arm.teacher is None else arm.teacher(batch)
    student.objective = arm.objective
    mixed = student.config.dtype == torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
        loss = student(**inputs, teacher=word, num_items_in_batch=int((batch["labels"] != -100).sum()))["loss"]
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def timed(action: Callable[[], None]) -> float:
    """Seconds until the device has finished `action`."""
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(arms: list[Arm], student: StudentWithLoss, batches: list[list[int]]) -> dict[str, list[float]]:
    """Seconds of every arm in every round; a round is one batch, and one round more warms up."""
    optimizer = torch.optim.AdamW([weight for weight in student.parameters() if weight.requires_grad])
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for number, indices in enumerate([batches[0], *batches]):
        turn = number % len(arms)
        for arm in arms[turn:] + arms[:turn]:
            took = timed(partial(step, arm, student, optimizer, indices))
            if number:
                seconds[arm.name].append(took)
        print(f"round {number}: " + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items() if times))
    return seconds


def summarise(seconds: dict[str, list[float]], tokens: list[int], arms: list[Arm]) -> list[Result]:
    """Medians over rounds of times and of ratios within a round."""
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
            )
        )
    return results


def print_table(results: list[Result]) -> None:
    print(f"{'arm':<8}{'s/step':>9}{'x SFT':>8}{'x online':>10}{'tokens/s':>10}{'bytes/token':>13}")
    for r in results:
        print(
            f"{r.arm:<8}{r.seconds:>9.3f}{r.ratio_to_sft:>8.2f}{r.speedup_to_online:>10.2f}"
            f"{r.tokens_per_second:>10.1f}{r.bytes_per_token:>13,}"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, default="smollm2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=96, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, default=160, help="most tokens of an answer")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    config = resolve_config({"dtype": arguments.dtype, "tuning": "lora"})
    teacher_size, student_size = PAIRS[arguments.pair]
    teacher = build_model(teacher_size, config)
    teacher.requires_grad_(False).train(False)
    student = StudentWithLoss(prepare_for_training(build_model(student_size, config), config), SFT_OBJECTIVE)
    count = arguments.rounds * arguments.batch_size
    sequences = build_sequences(count, arguments.prompt, arguments.answer, student_size.vocabulary)
    batches = [list(range(i, i + arguments.batch_size)) for i in range(0, count, arguments.batch_size)]
    tokens = [sum(sequences[i].num_response_tokens for i in batch) for batch in batches]
    with tempfile.TemporaryDirectory() as folder:
        arms = build_arms(teacher, sequences, config, Path(folder))
        results = summarise(measure(arms, student, batches), tokens, arms)
    print_table(results)
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
