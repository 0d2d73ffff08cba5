"""The time of an update of on-policy distillation: answers of our engine, and of `generate`.

    python benchmarks/opd_update.py [--prompts 32] [--tokens 256] [--updates 6] [--device cuda] [--layers 24]

Student and teacher have the shape of Qwen2.5-0.5B and random weights, so answers do not end before --tokens; the
student trains LoRA on weights in bfloat16 (float32 on a CPU). Each way runs the whole stage, on the same prompts.
Prints the seconds of an update and the response tokens a second. Before, a small student in float32 checks that both
ways choose the same likeliest tokens.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.engines.protocol import Sampling
from l2s.jsonl import write_jsonl
from l2s.models.attention import use_grouped_attention
from l2s.models.load import causal_lm_of, load_student_for_training
from l2s.models.tiny import build_tokenizer
from l2s.run_dir import RunDir
from l2s.training import answering, on_policy
from l2s.training.answering import answer_in_training

SHAPE: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def save_pair(folder: Path, layers: int) -> None:
    """Two models with random weights, teacher/ and student/."""
    tokenizer = build_tokenizer()
    for seed, name in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        config = Qwen2Config(
            **SHAPE, num_hidden_layers=layers, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def experiment(folder: Path, arguments: argparse.Namespace, **fields: Any) -> ExperimentConfig:
    """The settings of both ways, with prompts of different lengths where the stage reads them."""
    config = ExperimentConfig(
        teacher_model=str(folder / "teacher"),
        student_model=str(folder / "student"),
        output_dir=folder / "outputs",
        processed_dir=folder / "processed",
        device=arguments.device,
        tuning="lora",
        kd_init="base",
        gradient_checkpointing=False,
        gradient_accumulation_steps=max(1, arguments.prompts // 16),
        opd_batch_size=min(16, arguments.prompts),
        opd_max_new_tokens=arguments.tokens,
        opd_steps=arguments.updates,
        opd_runaway="warn",
        save_steps=10_000,
        **fields,
    )
    data = RunDir.of(config).train_data
    data.parent.mkdir(parents=True, exist_ok=True)
    texts = ["A train leaves at noon. " * (2 + number % 7) for number in range(4 * arguments.prompts)]
    write_jsonl(
        data,
        [{"id": str(number), "messages": [{"role": "user", "content": text}]} for number, text in enumerate(texts)],
    )
    return config


def same_tokens(folder: Path, arguments: argparse.Namespace) -> str:
    """How many answers of a small student with LoRA, in float32, have the same likeliest tokens either way."""
    config = experiment(folder, arguments, dtype="float32", experiment_name="same")
    student: Any = load_student_for_training(config.student_model, config)
    use_grouped_attention(causal_lm_of(student), "cuda")
    renderer = load_renderer(config, "student_model")
    prompts = [renderer.prompt_ids([{"role": "user", "content": "x" * length}]) for length in (40, 7, 19, 100, 1, 33)]
    found = answer_in_training(student, prompts, renderer, Sampling(32), at_a_time=len(prompts))
    width, pad = max(map(len, prompts)), renderer.pad_token_id
    tokens = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=student.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=student.device)
    student.eval()
    with torch.no_grad():
        expected = student.generate(input_ids=tokens, attention_mask=mask, max_new_tokens=32, do_sample=False)
    same = sum(
        answer.token_ids == row[: answer.num_tokens]
        for answer, row in zip(found, expected[:, width:].tolist(), strict=True)
    )
    return f"the same 32 greedy tokens in {same} of {len(prompts)} answers (float32, LoRA)"


def seconds_of_update(folder: Path, arguments: argparse.Namespace, name: str) -> tuple[float, float]:
    """Seconds of an update, and response tokens a second, of one run of the stage."""
    config = experiment(folder, arguments, experiment_name=name)
    found: Any = on_policy.run(config, RunDir.of(config))
    return found["seconds"] / found["steps"], found["tokens_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_pair(folder / "small", min(4, arguments.layers))
        print(same_tokens(folder / "small", arguments), flush=True)
        save_pair(folder, arguments.layers)
        for way, devices in (("engine", {arguments.device}), ("generate", frozenset())):
            answering.ANSWERS_HERE = frozenset(devices)
            seconds, speed = seconds_of_update(folder, arguments, way)
            print(f"{way}: {seconds:.2f} s an update of {arguments.prompts} prompts, {speed:,.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
