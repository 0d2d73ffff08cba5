"""Answers on a CPU: steps of one shape, which finished answers leave, beside transformers' `generate`.

    python benchmarks/cpu_answers.py [--problems 64] [--max_new_tokens 128] [--rounds 3]

The demo's teacher and student answer the demo's evaluation problems in batches of 32. The teacher's answers all end
early; some of the student's do not, and with `generate` their whole batch waits for them. Every round runs both ways,
every second round in reverse order. Prints medians, and stops if a token differs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.engines.protocol import Request, Sampling
from l2s.generation.engines.transformers import TransformersEngine
from l2s.models.demo import build_if_missing, locate
from l2s.models.load import load_model
from l2s.presets import DEMO_PROBLEMS, DEMO_STUDENT, DEMO_TEACHER
from l2s.tasks.table import task_of

BATCH_SIZE = 32
STATIC = {"steps of one shape": True, "generate": False}


def answer(engine: TransformersEngine, requests: list[Request], sampling: Sampling) -> tuple[float, list[list[int]]]:
    """Seconds, and the tokens of all answers."""
    begin = time.perf_counter()
    answers = {one.id: one.token_ids or [] for batch in engine.generate(requests, sampling) for one in batch}
    return time.perf_counter() - begin, [answers[request.id] for request in requests]


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Print one model's row."""
    build_if_missing(Path(locate(name)))
    settings = {**DEMO_PROBLEMS, "math_eval_size": arguments.problems}
    config = ExperimentConfig(teacher_model=locate(name), student_model=locate(name), dtype="float32", **settings)
    renderer = load_renderer(config, "student_model")
    engine = TransformersEngine(load_model(locate(name), config), renderer, batch_size=BATCH_SIZE)
    requests = [Request(one["id"], renderer.prompt_ids(one["messages"])) for one in task_of("math").eval_items(config)]
    seconds: dict[str, list[float]] = {way: [] for way in STATIC}
    tokens: list[list[int]] = []
    for number in range(arguments.rounds):
        for way in list(STATIC)[:: -1 if number % 2 else 1]:
            engine.static = STATIC[way]
            took, found = answer(engine, requests, Sampling(arguments.max_new_tokens))
            if tokens and found != tokens:
                sys.exit(f"{name}: the answers differ")
            tokens = found
            seconds[way].append(took)
    lengths = [len(one) for one in tokens]
    medians = " | ".join(f"{statistics.median(took):.1f}" for took in seconds.values())
    ratio = statistics.median(one / other for one, other in zip(*seconds.values(), strict=True))
    print(f"| {name} | {statistics.mean(lengths):.1f}, {max(lengths)} | {medians} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| model | tokens: mean, most | " + ", s | ".join(STATIC) + ", s | ratio |\n|---|---|---:|---:|---:|")
    for name in (DEMO_TEACHER, DEMO_STUDENT):
        compare(name, arguments)


if __name__ == "__main__":
    main()
