"""Short trainings of the arm `opd` on tiny models, for its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from l2s.config import ExperimentConfig
from l2s.jsonl import Row, load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.training import on_policy
from l2s.training.prompts import Prompt, Prompts

MakeConfig = Callable[..., ExperimentConfig]
PROMPTS: list[Prompt] = [[{"role": "user", "content": f"{number} plus {number % 5}?"}] for number in range(6)]
ASKED = Prompts(PROMPTS, PROMPTS, 0)
SHORT = {"opd_batch_size": 4, "opd_max_new_tokens": 12, "opd_lr": 1e-2, "kd_init": "base"}


def short_trainings(tiny_config: MakeConfig, **defaults: Any) -> MakeConfig:
    """A factory of configurations, each with PROMPTS written where the stage reads them; keywords override fields."""

    def build(**fields: Any) -> ExperimentConfig:
        config = tiny_config(**(SHORT | defaults | fields))
        path = RunDir.of(config).train_data
        path.parent.mkdir(parents=True)
        rows = ({"id": f"sum/{n}", "domain": "math", "messages": prompt} for n, prompt in enumerate(PROMPTS))
        write_jsonl(path, rows)
        return config

    return build


def run(config: ExperimentConfig) -> dict[str, Any]:
    """Run the stage; returns its metrics."""
    return dict(on_policy.run(config, RunDir.of(config)))


def metrics(config: ExperimentConfig) -> list[Row]:
    """The rows that it logged, one for each update."""
    return load_jsonl(RunDir.of(config).opd / "metrics.jsonl")


def record_answers(student: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Let `student` record its prompts and answers."""
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []
    generate = student.generate

    def noting(**inputs: Any) -> torch.Tensor:
        output: torch.Tensor = generate(**inputs)
        answers.append((inputs["input_ids"], output))
        return output

    student.generate = noting
    return answers


@contextmanager
def likeliest_tokens() -> Iterator[None]:
    """In this block the student answers with its likeliest tokens, so the ranks' random numbers change none."""
    settings = on_policy._settings

    def greedy(*args: Any) -> Any:
        found = settings(*args)
        found.top_k = 1
        return found

    with mock.patch.object(on_policy, "_settings", greedy):
        yield
