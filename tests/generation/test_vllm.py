"""The vLLM engine over a fake vLLM: its requests, their order, and its results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import REPLICA
from l2s.errors import UserError
from l2s.evaluation import evaluate
from l2s.generation import generate
from l2s.generation.engines import vllm as engine_module
from l2s.generation.engines import vllm_process
from l2s.generation.engines.protocol import Completion, ModelChoice, Request, Sampling, seed_of
from l2s.generation.engines.transformers import TransformersEngine
from l2s.generation.engines.vllm import VllmEngine
from l2s.generation.engines.vllm_process import gpus_of, prepare_environment
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.models.load import load_model
from l2s.models.stored import stored_bytes
from l2s.run_dir import RunDir
from l2s.sequences import TrainingSequence
from l2s.signals.hidden import ModelHidden
from l2s.tasks.types import Item
from support.fake_vllm import FakeVllm, RequestOutputKind, SamplingParams

Make = Callable[..., ExperimentConfig]
Open = Callable[..., VllmEngine]
VARIABLES = (
    "VLLM_NO_USAGE_STATS", "VLLM_LOGGING_LEVEL", "VLLM_WORKER_MULTIPROC_METHOD", "VLLM_ENABLE_V1_MULTIPROCESSING",
    "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND",
)  # fmt: skip


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    fake = FakeVllm()
    fake.install(monkeypatch)
    for name in VARIABLES:  # restored at the end, whatever a test sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return fake


@pytest.fixture
def renderer(tiny_model_dir: Path) -> ChatRenderer:
    return ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "teacher"))


@pytest.fixture
def engine(vllm: FakeVllm, tiny_config: Make, renderer: ChatRenderer) -> Open:
    def make(**fields: Any) -> VllmEngine:
        config = tiny_config(engine="vllm", **fields)
        return VllmEngine.open(ModelChoice.of_teacher(config), renderer, config)

    return make


def items(count: int) -> list[Item]:
    return [
        Item(id=f"m{n}", domain="math", source="test", reference=str(n), meta={},
             messages=[{"role": "user", "content": "What is " + " + ".join(["1"] * (n + 1)) + "?"}])
        for n in range(count)
    ]  # fmt: skip


def requests(renderer: ChatRenderer, count: int) -> list[Request]:
    return [Request(item["id"], renderer.prompt_ids(item["messages"])) for item in items(count)]


def by_id(batches: Iterable[list[Completion]]) -> dict[str, Completion]:
    found = [answer for batch in batches for answer in batch]
    assert len({answer.id for answer in found}) == len(found)
    return {answer.id: answer for answer in found}


def test_each_request_has_its_own_answer_whatever_order_they_end_in(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer, tiny_config: Make
) -> None:
    asked = requests(renderer, 5)
    ended = [answer for batch in engine().generate(asked, Sampling(9)) for answer in batch]
    assert [answer.id for answer in ended] == ["m4", "m3", "m2", "m1", "m0"]
    assert [(one.id, one.prompt) for one in vllm.asked] == [(request.id, request.prompt_ids) for request in asked]
    model = load_model(tiny_config().teacher_model, tiny_config())
    expected = by_id(TransformersEngine(model, renderer, batch_size=2).generate(asked, Sampling(9)))
    for answer in ended:
        assert answer.token_ids == expected[answer.id].token_ids
        assert answer.text == expected[answer.id].text
        assert answer.num_tokens == len(answer.token_ids or ())
        assert answer.finish_reason == expected[answer.id].finish_reason
        assert answer.seconds > 0


def test_end_and_cut_are_told_apart_and_nothing_after_the_end_is_kept(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    one = engine()
    (asked,) = requests(renderer, 1)
    ((cut,),) = one.generate([asked], Sampling(8))
    assert (cut.finish_reason, cut.num_tokens) == ("length", 8)
    assert cut.token_ids is not None
    one.stop_ids = frozenset({cut.token_ids[3]})
    ((ended,),) = one.generate([asked], Sampling(8))
    first = cut.token_ids.index(cut.token_ids[3])
    assert (ended.finish_reason, ended.token_ids) == ("stop", cut.token_ids[: first + 1])
    parameters = vllm.asked[-1].parameters
    assert isinstance(parameters, SamplingParams)
    assert parameters.stop_token_ids == [cut.token_ids[3]]
    assert parameters.ignore_eos  # vLLM would end at an EOS of its own reading


def test_greedy_asks_for_no_sampling_and_sampling_for_a_seed_of_each_request(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    one, asked = engine(), requests(renderer, 2)
    by_id(one.generate(asked, Sampling(3, temperature=0.0, top_p=0.5, seed=1)))
    by_id(one.generate(asked, Sampling(3, temperature=0.7, top_p=0.5, seed=1)))
    greedy, sampled = vllm.asked[:2], vllm.asked[2:]
    for each in greedy:
        parameters = each.parameters
        assert isinstance(parameters, SamplingParams)
        assert (parameters.temperature, parameters.top_p, parameters.seed) == (0.0, 1.0, None)
    for each in sampled:
        parameters = each.parameters
        assert isinstance(parameters, SamplingParams)
        assert (parameters.temperature, parameters.top_p) == (0.7, 0.5)
        assert parameters.seed == seed_of(1, [each.id])
        assert parameters.output_kind is RequestOutputKind.FINAL_ONLY
        assert not parameters.detokenize  # our tokenizer decodes
        assert parameters.max_tokens == 3


def test_a_sampled_answer_depends_on_its_prompt_and_the_seed_alone(engine: Open, renderer: ChatRenderer) -> None:
    one, asked = engine(), requests(renderer, 4)
    whole, again = (by_id(one.generate(asked, Sampling(8, temperature=1.0, seed=3))) for _ in range(2))
    alone = by_id(one.generate([asked[2]], Sampling(8, temperature=1.0, seed=3)))
    other = by_id(one.generate(asked, Sampling(8, temperature=1.0, seed=4)))
    texts = {id_: answer.text for id_, answer in whole.items()}
    assert {id_: answer.text for id_, answer in again.items()} == texts
    assert alone["m2"].text == texts["m2"]
    assert {id_: answer.text for id_, answer in other.items()} != texts


def test_what_is_done_is_not_asked_and_vllm_does_not_start_for_nothing(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    asked = requests(renderer, 4)
    with engine() as one:
        assert list(one.generate(asked, Sampling(2), done=[request.id for request in asked])) == []
        assert vllm.starts == []
        assert by_id(one.generate(asked, Sampling(2), done={"m0", "m3"})).keys() == {"m1", "m2"}
    assert [each.id for each in vllm.asked] == ["m1", "m2"]


def test_one_start_serves_all_lengths_up_to_a_round_number(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    with engine() as one:
        for length in (3, 30, 900, 100):
            by_id(one.generate([Request("a", [1] * 20)], Sampling(1, seed=length)))
            list(one.generate([Request("a", [1] * length)], Sampling(1)))
    assert [start["max_model_len"] for start in vllm.starts] == [256, 1024]
    assert vllm.running == 0  # the second start ended the first, and the engine's end the second


def test_the_model_is_started_as_configured(engine: Open, vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "usable_cores", lambda: 4)
    one = engine(teacher_gpus=2, seed=5, trust_remote_code=True)
    list(one.generate([Request("a", [1])], Sampling(1)))
    (start,) = vllm.starts
    assert start["model"] == one.choice.name
    assert start["tensor_parallel_size"] == 2
    assert (start["dtype"], start["seed"], start["trust_remote_code"]) == ("float32", 5, True)
    assert start["generation_config"] == "vllm"  # the folder's own file asks for sampling
    assert (start["runner"], "quantization" in start) == ("generate", False)


@pytest.mark.parametrize(("asked", "passed"), [("fp8", "fp8"), ("awq", None), ("gptq", None), ("none", None)])
def test_weights_are_quantised_by_vllm_where_the_checkpoint_does_not_say_it(
    vllm: FakeVllm, tiny_config: Make, renderer: ChatRenderer, asked: Any, passed: str | None
) -> None:
    config = tiny_config(engine="vllm", teacher_quantization=asked)
    one = VllmEngine.open(ModelChoice.of_teacher(config), renderer, config)
    list(one.generate([Request("a", [1])], Sampling(1)))
    assert vllm.starts[0].get("quantization") == passed


@pytest.mark.parametrize(
    ("gpus", "cores", "message"),
    [
        (3, 8, r"teacher_gpus=3: .* has 4 attention heads, .* give a divisor of 4"),
        (4, 2, "teacher_gpus=4: this stage sees 2 CPU cores; give at most 2"),
    ],
)
def test_a_split_that_cannot_be_is_refused_before_vllm_starts(
    engine: Open, vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch, gpus: int, cores: int, message: str
) -> None:
    monkeypatch.setattr(vllm_process, "usable_cores", lambda: cores)
    with pytest.raises(UserError, match=message):
        list(engine(teacher_gpus=gpus).generate([Request("a", [1])], Sampling(1)))
    assert vllm.starts == []


@pytest.mark.parametrize(("share", "cards", "found"), [(2.0, 8, 1), (1.0, 8, 2), (0.5, 8, 4), (0.5, 3, None)])
def test_without_a_number_the_fewest_gpus_that_hold_the_model_are_taken(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, share: float, cards: int, found: int | None
) -> None:
    config = tiny_config(engine="vllm")

    class Card:
        total_memory = int(share * stored_bytes(config.teacher_model, config, "none"))

    monkeypatch.setattr(vllm_process, "pick_device", lambda config: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Card)
    if found is None:
        with pytest.raises(UserError, match=r"too much for 3 GPUs of .* use more GPUs, or --teacher_quantization fp8"):
            gpus_of(ModelChoice.of_teacher(config), config)
    else:
        assert gpus_of(ModelChoice.of_teacher(config), config) == found


@pytest.mark.parametrize("error", [ValueError, RuntimeError, OSError])
def test_a_model_that_vllm_refuses_is_an_error_with_its_last_line(
    engine: Open, vllm: FakeVllm, error: type[Exception]
) -> None:
    vllm.refuses = error("a trace\n\nno available memory for the cache blocks\n")
    with pytest.raises(
        UserError, match=r"engine='vllm': did not start with .* \(no available memory for the cache blocks\)"
    ):
        list(engine().generate([Request("a", [1])], Sampling(1)))


def test_vllm_ends_where_it_breaks_and_what_was_answered_is_kept(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    vllm.breaks_after = 2
    kept: list[str] = []

    def answer() -> None:
        with engine() as one:
            for finished in one.generate(requests(renderer, 5), Sampling(2)):
                kept.extend(answer.id for answer in finished)

    with pytest.raises(RuntimeError, match="a worker died"):
        answer()
    assert kept == ["m4", "m3"]
    assert vllm.running == 0


def test_hidden_states_are_the_models_own_in_the_order_of_the_batches(
    engine: Open, vllm: FakeVllm, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "IN_FLIGHT", 3)
    batches = [[sequence(3, 5), sequence(9, 2)], [sequence(4, 4)], [sequence(1, 30), sequence(2, 1), sequence(6, 6)]]
    with engine() as one:
        hidden = one.hidden()
        found = list(hidden.of(batches))
    loaded = ModelHidden(load_model(tiny_config().teacher_model, tiny_config()))
    for ours, theirs in zip(found, loaded.of(batches), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hidden.head.weight, loaded.head.weight, rtol=0, atol=0)
    (start,) = vllm.starts
    assert (start["runner"], start["convert"]) == ("pooling", "embed")
    assert (start["pooler_config"].task, start["pooler_config"].use_activation) == ("token_embed", False)
    assert vllm.most_waiting == 3


def test_the_gpu_is_given_back_before_the_output_head_goes_there(
    engine: Open, vllm: FakeVllm, renderer: ChatRenderer
) -> None:
    with engine() as one:
        by_id(one.generate(requests(renderer, 2), Sampling(2)))
        assert vllm.running == 1
        hidden = one.hidden()
        assert vllm.running == 0
        assert len(list(hidden.of([[sequence(3, 5)]]))) == 1


def sequence(prompt: int, answer: int) -> TrainingSequence:
    tokens = [(7 * position + prompt) % 250 for position in range(prompt + answer)]
    return TrainingSequence(f"{prompt}-{answer}", tokens, [-100] * prompt + tokens[prompt:])


def test_replicas_share_the_requests_and_leave_what_one_process_would(
    vllm: FakeVllm, tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"engine": "vllm", "max_new_tokens": 4, "sampling_temperature": 1.0}
    three, one = (tiny_config(experiment_name=name, **fields) for name in ("three", "one"))
    for config in (three, one):
        RunDir.of(config).train_data.parent.mkdir(parents=True)
        write_jsonl(RunDir.of(config).train_data, items(7))
    for number in (2, 1, 0):
        monkeypatch.setenv(REPLICA, f"{number}/3")
        generate.run(three, RunDir.of(three))
    assert [each.id for each in vllm.asked] == ["m1", "m4", "m2", "m5", "m0", "m3", "m6"]  # every third, by length
    monkeypatch.delenv(REPLICA)
    metrics = generate.run(one, RunDir.of(one))
    found, expected = (load_jsonl(RunDir.of(config).responses) for config in (three, one))
    assert found == expected
    assert metrics["engine"]["name"] == "vllm"
    assert metrics["peak_memory_bytes"] is None


def test_evaluation_takes_answers_and_fidelity_from_vllm(vllm: FakeVllm, tiny_config: Make) -> None:
    config = tiny_config(engine="vllm", max_new_tokens=4)
    run_dir = RunDir.of(config)
    run_dir.eval_data.parent.mkdir(parents=True)
    write_jsonl(run_dir.eval_data, items(3))
    metrics = evaluate.run(config, run_dir, model="teacher")
    evaluate.run(config, run_dir, model="student_base")
    assert metrics["engine"]["name"] == "vllm"
    assert (metrics["parameters"] or 0) > 0
    assert all(row["kl_sum"] == 0 for row in load_jsonl(run_dir.fidelity("teacher")))
    assert all(row["kl_sum"] > 0 for row in load_jsonl(run_dir.fidelity("student_base")))
    assert [start["runner"] for start in vllm.starts] == ["generate", "pooling"] * 2
    assert vllm.running == 0


def test_settings_of_vllm_that_the_user_made_stay(vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    prepare_environment(2, on_cpu=True)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"
    prepare_environment(1, on_cpu=True)  # a second model of this process, split in another way
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "0,1,2,3"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
