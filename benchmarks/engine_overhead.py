"""Overhead of our engine over plain vLLM: the same prompts, SmolLM2, each way several times in turn.

    .venv-engines/bin/python benchmarks/engine_overhead.py

Our engine ends with decoded answers on disk, line by line as they finish; vLLM ends with token ids in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.answers import answer_items
from l2s.generation.engines.protocol import ModelChoice, Sampling
from l2s.generation.engines.vllm import VllmEngine
from l2s.models import demo
from l2s.presets import DEMO_BASE
from l2s.tasks import word_problems
from l2s.tasks.types import Item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--max_new_tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = demo.locate(DEMO_BASE)
    demo.build_if_missing(Path(folder))
    config = ExperimentConfig(teacher_model=folder, student_model=folder, device="cpu", dtype="float32", engine="vllm")
    renderer = load_renderer(config, "teacher_model")
    items = [
        Item(id=f"p{n}", domain="math", source="synthetic", messages=[{"role": "user", "content": problem.text}],
             reference=problem.answer, meta={})
        for n, problem in enumerate(word_problems.generate("eval", arguments.prompts, seed=0))
    ]  # fmt: skip
    sampling = Sampling(arguments.max_new_tokens)
    with VllmEngine.open(ModelChoice.of_teacher(config), renderer, config) as engine:
        prompts = [renderer.prompt_ids(item["messages"]) for item in items]
        engine.process.started("generate", max(map(len, prompts)) + arguments.max_new_tokens)
        ours, theirs = [], []
        for number in range(arguments.rounds + 1):  # the first round warms up
            if number % 2:  # each goes first in turn, because the machine's speed drifts
                theirs.append(time_of_vllm(engine, prompts, sampling))
                ours.append(time_of_engine(engine, items, sampling))
            else:
                ours.append(time_of_engine(engine, items, sampling))
                theirs.append(time_of_vllm(engine, prompts, sampling))
    ours, theirs = ours[1:], theirs[1:]
    ratio = statistics.median(mine / its for mine, its in zip(ours, theirs, strict=True))
    print(f"{len(items)} prompts, {arguments.rounds} rounds: vLLM {statistics.median(theirs):.2f} s, "
          f"engine {statistics.median(ours):.2f} s, median of the ratios {ratio:.3f}")  # fmt: skip


def time_of_vllm(engine: VllmEngine, prompts: list[list[int]], sampling: Sampling) -> float:
    """Seconds of `LLM.generate` with the parameters that the engine sets."""
    llm = engine.process.llm
    llm.reset_prefix_cache()
    begin = time.monotonic()
    parameters = engine.sampling_params("all", sampling)
    llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
    return time.monotonic() - begin


def time_of_engine(engine: VllmEngine, items: list[Item], sampling: Sampling) -> float:
    """Seconds of the engine until every answer is on disk."""
    engine.process.llm.reset_prefix_cache()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        answer_items(items, engine, engine.renderer, sampling, Path(folder) / "answers.jsonl", label="engine")
        return time.monotonic() - begin


if __name__ == "__main__":
    main()
