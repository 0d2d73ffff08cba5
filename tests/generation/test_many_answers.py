"""Many answers: prompts are cut and rendered in parts, and no part of the stage holds all answers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from l2s.chat import ChatRenderer, load_renderer
from l2s.config import ExperimentConfig
from l2s.devices import REPLICA
from l2s.generation import answers, collect
from l2s.generation.answers import answer_items
from l2s.generation.curation import Choice, Curator
from l2s.generation.engines.protocol import Completion, Request, Sampling
from l2s.generation.engines.transformers import TransformersEngine
from l2s.generation.generate import write_choices
from l2s.jsonl import append_jsonl, load_jsonl, write_jsonl
from l2s.models.load import load_model
from l2s.on_disk import RowsOnDisk
from l2s.run_dir import RunDir
from l2s.sealed import seal
from l2s.tasks.table import task_of
from l2s.tasks.types import Grade, Item

Make = Callable[..., ExperimentConfig]


def item(number: int) -> Item:
    words = " ".join(["one"] * (number * 7 % 11))
    messages = [{"role": "user", "content": f"{words} {number}?"}]
    return Item(id=f"m{number}", domain="math", source="t", reference="1", meta={}, messages=messages)  # type: ignore[typeddict-item]


@pytest.fixture
def config(tiny_config: Make) -> ExperimentConfig:
    return tiny_config(max_new_tokens=5)


@pytest.fixture
def renderer(config: ExperimentConfig) -> ChatRenderer:
    return load_renderer(config, "teacher_model")


@pytest.fixture
def engine(config: ExperimentConfig, renderer: ChatRenderer) -> TransformersEngine:
    return TransformersEngine(load_model(config.teacher_model, config), renderer, batch_size=3)


@pytest.mark.parametrize("replicas", [1, 2])
def test_prompts_in_parts_get_the_answers_of_all_at_once(
    replicas: int, engine: TransformersEngine, renderer: ChatRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, sampling = [item(n) for n in range(20)], Sampling(5, temperature=1.0)
    together = answer_items(items, engine, renderer, sampling, tmp_path / "all.jsonl", label="t")
    monkeypatch.setattr(answers, "RENDERED", 4)
    for number in reversed(range(replicas)):
        monkeypatch.setenv(REPLICA, f"{number}/{replicas}")
        in_parts = answer_items(items, engine, renderer, sampling, tmp_path / "parts.jsonl", label="t")
    assert {id_: answer.token_ids for id_, answer in in_parts.items()} == {
        id_: answer.token_ids for id_, answer in together.items()
    }


class Counting:
    """Answers everything at once, and notes how many prompts it was given at a time."""

    def __init__(self) -> None:
        self.cut: list[int] = []
        self.asked: list[list[str]] = []

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        self.cut.append(len(requests))
        return [[request] for request in requests]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        assert all(isinstance(request.prompt_ids, list) and request.messages for request in requests)
        self.asked.append([request.id for request in requests if request.id not in done])
        yield [Completion(request.id, "1", "stop", 1, 0.1) for request in requests if request.id not in done]


def test_few_prompts_are_in_memory_at_a_time(
    renderer: ChatRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answers, "RENDERED", 2)
    monkeypatch.setattr(answers, "CUT_TOGETHER", 5)
    engine, log = Counting(), tmp_path / "log.jsonl"
    append_jsonl(log, [seal(asdict(Completion("m6", "1", "stop", 1, 0.1)))])
    found = answer_items([item(n) for n in range(8)], engine, renderer, Sampling(4), log, label="t")
    assert engine.cut == [5, 3]
    assert engine.asked == [["m0", "m1"], ["m2", "m3"], ["m4"], ["m5"], ["m7"]]
    assert sorted(found) == [f"m{n}" for n in range(8)]
    assert "t, items 6 to 8: 1 of 3 answers is done already" in capsys.readouterr().out


def test_no_line_of_progress_is_printed_twice(
    renderer: ChatRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answers, "REPORT_EVERY_S", 0.0)  # a line is due after the last batch, and one at the end
    answer_items([item(n) for n in range(3)], Counting(), renderer, Sampling(4), tmp_path / "log.jsonl", label="t")
    assert [line.split(" answers")[0] for line in capsys.readouterr().out.splitlines()] == ["t: 3/3"]


def test_the_console_says_what_is_left_out(config: ExperimentConfig, capsys: pytest.CaptureFixture[str]) -> None:
    graded = {"score": 1.0, "status": "correct"}
    row = {"id": "m", "domain": "math", "response": "1", "num_tokens": 1, "finish_reason": "stop", "graded": graded}
    run_dir = RunDir.of(config)
    write_choices([Choice([row], [row], [])] * 2, run_dir, str)
    assert capsys.readouterr().out == "2 answers to learn from\n"
    write_choices([Choice([row], [row], []), Choice([row], [], [row])], run_dir, str)
    assert capsys.readouterr().out == f"1 answer to learn from; {run_dir.rejected} has the 1 item without one\n"


def peak_of(number: int, make: Make, renderer: ChatRenderer) -> int:
    """Bytes that grading, choosing and writing `number` long answers take at most."""
    config = make(experiment_name=f"n{number}", answers_per_item=1)
    run_dir = RunDir.of(config)
    for folder in (run_dir.train_data.parent, run_dir.answer_log):
        folder.mkdir(parents=True)
    write_jsonl(run_dir.train_data, (item(n) for n in range(number)))
    answered = (Completion(f"m{n}", f"{n} " + "x" * 2000, "stop", 2000, 0.1) for n in range(number))
    append_jsonl(run_dir.answers_of_try(0), [seal(asdict(answer)) for answer in answered])
    asked_with = {f"m{n}": item(n)["messages"] for n in range(number)}
    tracemalloc.start()
    items = RowsOnDisk(run_dir.train_data)
    collected = collect.collect(items, asked_with, Counting(), renderer, config, run_dir)  # type: ignore[arg-type]
    curator = Curator(items, collected.answers, config)  # type: ignore[arg-type]
    chosen = (curator.choose(one, collected.answers[one["id"]]) for one in items)  # type: ignore[arg-type]
    tally = write_choices(chosen, run_dir, str)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tally.kept.total() == len(load_jsonl(run_dir.responses)) == number
    return peak


def test_memory_does_not_grow_with_the_answers(
    tiny_config: Make, renderer: ChatRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "RENDERED", 8)
    monkeypatch.setattr(collect, "GRADED_TOGETHER", 8)
    monkeypatch.setattr(collect, "grade_all", lambda asked, config: [Grade(1.0, "correct")] * len(asked))
    task_of("math")  # what is imported does not count
    few, many = peak_of(50, tiny_config, renderer), peak_of(250, tiny_config, renderer)
    assert many - few < 200 * 400  # of 2,000 bytes each
