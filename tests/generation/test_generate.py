"""Answers: the transformers engine, resuming after a kill, and keep_correct."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.generation import generate
from l2s.generation.answers import answer_items
from l2s.generation.collect import CollectedAnswers
from l2s.generation.collect import collect as collect_answers
from l2s.generation.context import teacher_messages
from l2s.generation.engines import transformers as transformers_engine
from l2s.generation.engines.protocol import Completion, Request, Sampling, cut_at_stop
from l2s.generation.engines.transformers import TransformersEngine
from l2s.jsonl import append_jsonl, load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.sealed import seal
from l2s.tasks.types import Item

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def renderer(tiny_model_dir: Path) -> ChatRenderer:
    return ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "teacher"))


@pytest.fixture
def model(tiny_model_dir: Path) -> PreTrainedModel:
    loaded: Any = AutoModelForCausalLM.from_pretrained(tiny_model_dir / "teacher", dtype=torch.float32)
    return cast(PreTrainedModel, loaded.eval())


def math_items(count: int) -> list[Item]:
    return [
        Item(
            id=f"m{number}",
            domain="math",
            source="test",
            messages=[{"role": "user", "content": "What is " + " + ".join(["1"] * (number + 1)) + "?"}],
            reference=str(number + 1),
            meta={},
        )
        for number in range(count)
    ]


def greedy_alone(model: PreTrainedModel, renderer: ChatRenderer, prompt: Sequence[int], limit: int) -> list[int]:
    """Greedy decoding one token at a time, without a cache, padding or `generate`."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + limit:
        tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        if tokens[-1] == renderer.end_id:
            break
    return tokens[len(prompt) :]


def test_greedy_answers_equal_a_plain_loop_in_spite_of_batching_and_sampling_defaults(
    model: PreTrainedModel, renderer: ChatRenderer
) -> None:
    assert model.generation_config is not None
    assert model.generation_config.do_sample  # the folder asks for sampling, which the engine must ignore
    model.generation_config.repetition_penalty = 1.5
    requests = [Request(item["id"], renderer.prompt_ids(item["messages"])) for item in math_items(5)]
    engine = TransformersEngine(model, renderer, batch_size=2)
    answers = {answer.id: answer for batch in engine.generate(requests, Sampling(12)) for answer in batch}
    for request in requests:
        tokens = greedy_alone(model, renderer, request.prompt_ids, 12)
        assert answers[request.id].text == renderer.decode(tokens)
        assert answers[request.id].token_ids == tokens
        assert answers[request.id].num_tokens == len(tokens)


@pytest.mark.parametrize("steps", [1, 3, 5, 12])
def test_finished_answers_leave_the_batch_and_the_others_go_on_as_if_nothing_had_happened(
    model: PreTrainedModel, renderer: ChatRenderer, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    requests = [Request(item["id"], renderer.prompt_ids(item["messages"])) for item in math_items(5)]
    stop = greedy_alone(model, renderer, requests[0].prompt_ids, 12)[3]  # so that one answer ends before the others
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [renderer.end_id, stop]
    engine = TransformersEngine(model, renderer, batch_size=5)
    engine.static = False
    (whole,) = engine.generate(requests, Sampling(12))
    monkeypatch.setitem(transformers_engine.SEGMENT_STEPS, "cpu", steps)
    (segmented,) = engine.generate(requests, Sampling(12))
    assert len({answer.num_tokens for answer in whole}) > 1
    assert [(a.id, a.token_ids, a.finish_reason) for a in segmented] == [
        (a.id, a.token_ids, a.finish_reason) for a in whole
    ]


def test_every_end_that_a_model_declares_ends_an_answer(model: PreTrainedModel, renderer: ChatRenderer) -> None:
    request = Request("one", renderer.prompt_ids(math_items(1)[0]["messages"]))
    plain = greedy_alone(model, renderer, request.prompt_ids, 12)
    second = plain[4]  # a token that the model generates, declared as a second EOS as in Qwen
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [renderer.end_id, second]
    ((answer,),) = TransformersEngine(model, renderer, batch_size=1).generate([request], Sampling(12))
    assert answer.finish_reason == "stop"
    assert answer.num_tokens == plain.index(second) + 1


def test_finish_reason_tells_an_end_from_a_cut(model: PreTrainedModel, renderer: ChatRenderer) -> None:
    stops = TransformersEngine(model, renderer, batch_size=2).stop_ids
    assert cut_at_stop([5, renderer.end_id, 7, 7], stops) == ([5, renderer.end_id], "stop")
    assert cut_at_stop([5, 6, 7], stops) == ([5, 6, 7], "length")


def test_sampled_answers_do_not_depend_on_which_are_done(model: PreTrainedModel, renderer: ChatRenderer) -> None:
    requests = [Request(item["id"], renderer.prompt_ids(item["messages"])) for item in math_items(6)]
    engine = TransformersEngine(model, renderer, batch_size=2)
    sampling = Sampling(8, temperature=1.0, seed=3)
    whole = {answer.id: answer.text for batch in engine.generate(requests, sampling) for answer in batch}
    left = [answer for batch in engine.generate(requests, sampling, done={"m0", "m3"}) for answer in batch]
    rest = {answer.id: answer.text for answer in left}
    assert rest == {name: text for name, text in whole.items() if name not in {"m0", "m3"}}
    assert len(set(whole.values())) > 1


def test_a_killed_generation_goes_on_and_gives_the_file_of_an_unbroken_run(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(name: str) -> tuple[ExperimentConfig, RunDir]:
        config = tiny_config(experiment_name=name, generation_batch_size=2, sampling_temperature=0.9, max_new_tokens=6)
        run_dir = RunDir.of(config)
        run_dir.train_data.parent.mkdir(parents=True)
        write_jsonl(run_dir.train_data, math_items(6))
        run_dir.sft.mkdir()
        return config, run_dir

    config, unbroken = prepared("unbroken")
    generate.run(config, unbroken)
    config, killed = prepared("killed")
    written = 0

    def kill_in_the_third(path: Path, rows: list[dict[str, object]]) -> None:
        nonlocal written
        written += 1
        if written == 3:
            with path.open("a") as file:
                file.write('{"id": "m')
            raise KeyboardInterrupt
        append_jsonl(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr("l2s.generation.answers.append_jsonl", kill_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            generate.run(config, killed)
    assert not killed.responses.exists()
    generate.run(config, killed)
    assert killed.responses.read_bytes() == unbroken.responses.read_bytes()
    rows = load_jsonl(killed.responses) + (load_jsonl(killed.rejected) if killed.rejected.read_bytes() else [])
    assert sorted(row["id"] for row in rows) == [item["id"] for item in math_items(6)]


def test_speed_counts_the_answers_of_this_process_and_memory_is_recorded(tiny_config: Make) -> None:
    config = tiny_config(generation_batch_size=2, max_new_tokens=6)
    run_dir = RunDir.of(config)
    run_dir.train_data.parent.mkdir(parents=True)
    run_dir.sft.mkdir()
    write_jsonl(run_dir.train_data, math_items(6))
    first = generate.run(config, run_dir)
    answers = load_jsonl(run_dir.answer_log / "try-1.jsonl")
    assert first["tokens_per_second"] == pytest.approx(
        sum(row["num_tokens"] for row in answers) / sum(row["seconds"] for row in answers)
    )
    assert (first["peak_memory_bytes"] or 0) > 0

    write_jsonl(run_dir.answer_log / "try-1.jsonl", [seal(row | {"seconds": 1e6}) for row in answers[:2]])
    rest = generate.run(config, run_dir)["tokens_per_second"]
    again = load_jsonl(run_dir.answer_log / "try-1.jsonl")[2:]
    assert rest == pytest.approx(sum(row["num_tokens"] for row in again) / sum(row["seconds"] for row in again))
    assert generate.run(config, run_dir)["tokens_per_second"] is None


def test_a_run_without_evaluation_items_generates(tiny_config: Make) -> None:
    config = tiny_config(max_new_tokens=4)
    run_dir = RunDir.of(config)
    run_dir.train_data.parent.mkdir(parents=True)
    write_jsonl(run_dir.train_data, math_items(2))
    write_jsonl(run_dir.eval_data, [])  # as `prepare` leaves it
    assert generate.run(config, run_dir)["num_responses"] == 2


class ScriptedEngine:
    """Answers right from the given try on; `right_from[id]` counts calls."""

    def __init__(self, right_from: dict[str, int]) -> None:
        self.right_from = right_from
        self.calls: list[tuple[set[str], float]] = []

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        return [[request] for request in requests]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        self.calls.append(({request.id for request in requests}, sampling.temperature))
        for request in requests:
            right = self.right_from[request.id] <= len(self.calls)
            text = f"#### {int(request.id[1:]) + 1}" if right else "#### 999"
            yield [Completion(request.id, text, "stop", 4, 0.1)]


def collect(
    items: list[Item], engine: ScriptedEngine, renderer: ChatRenderer, config: ExperimentConfig
) -> CollectedAnswers:
    asked_with = teacher_messages(items, config)
    return collect_answers(items, asked_with, engine, renderer, config, RunDir.of(config))


def test_keep_correct_asks_again_for_rejected_answers_only(tiny_config: Make, renderer: ChatRenderer) -> None:
    config = tiny_config(keep_correct=True, max_tries=3, retry_temperature=0.7)
    engine = ScriptedEngine({"m0": 1, "m1": 2, "m2": 9})
    collected = collect(math_items(3), engine, renderer, config)
    assert {name: len(rows) for name, rows in collected.answers.items()} == {"m0": 1, "m1": 2, "m2": 3}
    assert collected.answers["m1"][-1]["response"] == "#### 2"
    assert collected.answers["m2"][-1]["graded"]["score"] == 0
    assert engine.calls == [({"m0", "m1", "m2"}, 0.0), ({"m1", "m2"}, 0.7), ({"m2"}, 0.7)]
    assert collected.tries == [
        {"try": 1, "asked": 3, "correct": 1},
        {"try": 2, "asked": 2, "correct": 1},
        {"try": 3, "asked": 1, "correct": 0},
    ]


def test_one_try_alone_asks_no_question_twice(tiny_config: Make, renderer: ChatRenderer) -> None:
    config = tiny_config(keep_correct=True, max_tries=1)
    engine = ScriptedEngine({"m0": 1, "m1": 2})
    collected = collect(math_items(2), engine, renderer, config)
    assert engine.calls == [({"m0", "m1"}, 0.0)]
    assert collected.tries == [{"try": 1, "asked": 2, "correct": 1}]


def test_without_keep_correct_wrong_answers_stay_and_are_marked(tiny_config: Make, renderer: ChatRenderer) -> None:
    config = tiny_config()
    engine = ScriptedEngine({"m0": 1, "m1": 9})
    collected = collect(math_items(2), engine, renderer, config)
    assert [[row["graded"]["score"] for row in collected.answers[name]] for name in ("m0", "m1")] == [[1.0], [0.0]]


def test_several_answers_of_an_item_are_asked_for_until_it_has_them(tiny_config: Make, renderer: ChatRenderer) -> None:
    engine = ScriptedEngine({"m0": 1, "m1": 9})
    config = tiny_config(answers_per_item=3, retry_temperature=0.7)
    collected = collect(math_items(2), engine, renderer, config)
    assert [call for _, call in engine.calls] == [0.0, 0.7, 0.7]
    assert [len(rows) for rows in collected.answers.values()] == [3, 3]

    engine = ScriptedEngine({"m0": 1, "m1": 9})
    config = tiny_config(answers_per_item=2, keep_correct=True, max_tries=4, experiment_name="right")
    collected = collect(math_items(2), engine, renderer, config)
    assert [len(rows) for rows in collected.answers.values()] == [4, 4]  # the same right answer again is not another


def test_every_finished_answer_is_a_line_at_once(renderer: ChatRenderer, tmp_path: Path) -> None:
    log, seen = tmp_path / "log.jsonl", []

    class Watched(ScriptedEngine):
        def generate(
            self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
        ) -> Iterator[list[Completion]]:
            for finished in super().generate(requests, sampling, done=done):
                yield finished
                seen.append(len(load_jsonl(log)))

    answer_items(math_items(3), Watched({"m0": 1, "m1": 1, "m2": 1}), renderer, Sampling(4), log, label="test")
    assert seen == [1, 2, 3]
