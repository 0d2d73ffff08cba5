"""vLLM compared with transformers: answers and hidden states, of one process and of a split model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from l2s.chat import ChatRenderer, load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.engines.protocol import Completion, Engine, ModelChoice, Request, Sampling
from l2s.generation.engines.table import open_engine
from l2s.generation.engines.transformers import TransformersEngine
from l2s.models.load import load_model
from l2s.sequences import TrainingSequence
from l2s.signals.hidden import ModelHidden
from l2s.tasks import word_problems

pytestmark = pytest.mark.timeout(1800)  # on busy cores; seconds on idle ones

Make = Callable[..., ExperimentConfig]
PROMPTS, COMPARED = 20, 16


@pytest.fixture(scope="module")
def asked(smollm2: str) -> Iterator[tuple[Engine, ChatRenderer, list[Request]]]:
    config = ExperimentConfig(
        teacher_model=smollm2, student_model=smollm2, device="cpu", dtype="float32", engine="vllm"
    )
    renderer = load_renderer(config, "teacher_model")
    questions = [problem.text for problem in word_problems.generate("eval", PROMPTS, seed=0)]
    requests = [
        Request(f"q{n}", renderer.prompt_ids([{"role": "user", "content": text}])) for n, text in enumerate(questions)
    ]
    with open_engine(ModelChoice.of_teacher(config), renderer, config) as engine:
        yield engine, renderer, requests


def answers(batches: Iterator[list[Completion]]) -> dict[str, Completion]:
    found = [answer for batch in batches for answer in batch]
    assert len({answer.id for answer in found}) == len(found)
    return {answer.id: answer for answer in found}


def test_greedy_answers_begin_as_those_of_transformers(
    asked: tuple[Engine, ChatRenderer, list[Request]], smollm2: str, vllm_config: Make
) -> None:
    engine, renderer, requests = asked
    model = load_model(smollm2, vllm_config(smollm2))
    theirs = answers(TransformersEngine(model, renderer, batch_size=10).generate(requests, Sampling(COMPARED)))
    ours = answers(engine.generate(requests, Sampling(COMPARED)))
    assert ours.keys() == theirs.keys()
    equal = sum(ours[name].token_ids == theirs[name].token_ids for name in ours)
    assert equal >= 0.9 * PROMPTS
    for name, answer in ours.items():
        assert answer.token_ids is not None
        assert answer.num_tokens == len(answer.token_ids)
        assert answer.text == renderer.decode(answer.token_ids)
        assert answer.seconds > 0
        if answer.token_ids == theirs[name].token_ids:
            assert (answer.text, answer.finish_reason) == (theirs[name].text, theirs[name].finish_reason)


def test_a_resumed_generation_asks_for_the_rest(asked: tuple[Engine, ChatRenderer, list[Request]]) -> None:
    engine, _, requests = asked
    done = {request.id for request in requests[::2]}
    rest = answers(engine.generate(requests, Sampling(4), done=done))
    assert rest.keys() == {request.id for request in requests} - done
    assert list(engine.generate(requests, Sampling(4), done={request.id for request in requests})) == []


def test_sampled_answers_depend_on_seed_and_prompt_alone(asked: tuple[Engine, ChatRenderer, list[Request]]) -> None:
    engine, _, requests = asked
    twins = [Request("a", requests[0].prompt_ids), Request("b", requests[0].prompt_ids), *requests[1:4]]
    sampling = Sampling(12, temperature=1.0, seed=1)
    first = answers(engine.generate(twins, sampling))
    again = answers(engine.generate(list(reversed(twins)), sampling))
    other = answers(engine.generate(twins, Sampling(12, temperature=1.0, seed=2)))
    texts = {name: answer.text for name, answer in first.items()}
    assert texts["a"] != texts["b"]
    assert texts == {name: answer.text for name, answer in again.items()}
    assert texts != {name: answer.text for name, answer in other.items()}


@pytest.mark.parametrize(
    ("model", "processes"), [("smollm2", 1), ("dense", 2), ("tied", 1), ("mixture", 1), ("mixture", 2)]
)
def test_hidden_states_are_those_of_transformers(
    model: str, processes: int, request: pytest.FixtureRequest, vllm_config: Make
) -> None:
    """Within 1e-4 of the largest value, for lengths of 2 to 700 tokens; vLLM reads them in one step, without chunks."""
    folder = request.getfixturevalue(model)
    config = vllm_config(folder, teacher_gpus=processes)
    loaded = ModelHidden(load_model(folder, config))
    vocabulary = min(250, len(loaded.head.weight))
    generator = torch.Generator().manual_seed(0)
    batches = []
    for number, lengths in enumerate(((5, 300), (700,), (17, 2))):
        ids = [torch.randint(0, vocabulary, (length,), generator=generator).tolist() for length in lengths]
        batches.append([sequence(f"{number}-{len(tokens)}", tokens) for tokens in ids])
    renderer = load_renderer(config, "teacher_model")
    expected = list(loaded.of(batches))
    with open_engine(ModelChoice.of_teacher(config), renderer, config) as engine:
        hidden = engine.hidden()
        found = list(hidden.of(batches))
        torch.testing.assert_close(hidden.head.weight, loaded.head.weight, rtol=0, atol=0)
        assert hidden.head.transform == loaded.head.transform
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def sequence(name: str, tokens: list[int]) -> TrainingSequence:
    prompt = len(tokens) // 2
    return TrainingSequence(name, tokens, [-100] * prompt + tokens[prompt:])
