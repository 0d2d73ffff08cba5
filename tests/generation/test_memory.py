"""When memory runs out, transformers answers and reads fewer at a time, the same number for all compared models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from l2s.chat import ChatRenderer, load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation import generate
from l2s.generation.engines.protocol import Completion, Request, Sampling
from l2s.generation.engines.static_decoding import decode
from l2s.generation.engines.transformers import TransformersEngine
from l2s.jsonl import append_jsonl, write_jsonl
from l2s.models.load import load_model
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import run_stage
from l2s.runner.pipeline import STAGES
from l2s.sequences import TrainingSequence
from l2s.signals import hidden
from l2s.signals.hidden import ModelHidden
from l2s.tasks.types import Item

Make = Callable[..., ExperimentConfig]


def items(count: int) -> list[Item]:
    return [
        Item(id=f"m{n}", domain="math", source="test", reference=str(n), meta={},
             messages=[{"role": "user", "content": "What is " + " + ".join(["1"] * (n + 1)) + "?"}])
        for n in range(count)
    ]  # fmt: skip


def memory_holds(monkeypatch: pytest.MonkeyPatch, most: Callable[[], int]) -> list[int]:
    """Let answers run out of memory above `most()` prompts; return the sizes of the batches that were tried."""
    sizes: list[int] = []

    def short(model: Any, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(sequences))
        if sizes[-1] > most():
            raise torch.OutOfMemoryError("as CUDA says it")
        return decode(model, sequences, *args, **kwargs)

    monkeypatch.setattr("l2s.generation.engines.transformers.decode", short)
    return sizes


class Loaded:
    """The tiny teacher, and nine prompts for it."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.renderer: ChatRenderer = load_renderer(config, "teacher_model")
        self.model: PreTrainedModel = load_model(config.teacher_model, config)
        self.requests = [Request(item["id"], self.renderer.prompt_ids(item["messages"])) for item in items(9)]

    def answers(self, sampling: Sampling, *, part_sizes: dict[str, int] | None = None) -> dict[str, Completion]:
        engine = TransformersEngine(self.model, self.renderer, batch_size=4, part_sizes=part_sizes)
        batches = engine.generate(self.requests, sampling)
        return {answer.id: answer for batch in batches for answer in batch}


@pytest.fixture
def loaded(tiny_config: Make) -> Loaded:
    return Loaded(tiny_config())


def test_a_batch_that_does_not_fit_is_answered_in_halves_and_the_next_is_tried_whole(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = loaded.answers(Sampling(6))
    sizes = memory_holds(monkeypatch, lambda: 2)
    found = loaded.answers(Sampling(6))
    assert sizes == [4, 2, 2, 4, 2, 2, 1]
    assert capsys.readouterr().out == "out of memory with 4 prompts at a time; repeated with 2\n"
    assert {id_: answer.token_ids for id_, answer in found.items()} == {
        id_: answer.token_ids for id_, answer in expected.items()
    }
    assert {answer.batch_size for answer in expected.values()} == {4}
    assert [answer.batch_size for answer in found.values()] == [2] * 8 + [4]  # the last batch is one prompt


def test_memory_that_is_short_for_a_while_cuts_the_batches_of_that_while(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = memory_holds(monkeypatch, lambda: 1 if len(sizes) in (1, 2) else 4)
    found = loaded.answers(Sampling(2))
    assert sizes == [4, 2, 1, 1, 1, 1, 4, 1]
    assert [answer.batch_size for answer in found.values()] == [1] * 4 + [4] * 5


def test_a_model_takes_the_parts_of_the_one_that_it_is_compared_with(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = memory_holds(monkeypatch, lambda: {1: 2, 3: 1}.get(len(sizes), 4))
    first = loaded.answers(Sampling(2))
    assert sizes == [4, 2, 2, 1, 1, 4, 1]
    sizes.clear()
    recorded = {id_: answer.batch_size or 0 for id_, answer in first.items()}
    assert list(recorded.values()) == [2, 2, 1, 1, 4, 4, 4, 4, 4]
    monkeypatch.undo()
    sizes = memory_holds(monkeypatch, lambda: 4)
    second = loaded.answers(Sampling(2), part_sizes=recorded)
    assert sizes == [2, 1, 1, 4, 1]
    assert {id_: answer.batch_size for id_, answer in second.items()} == recorded


def test_a_single_prompt_that_does_not_fit_is_an_error_with_the_ways_out(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_holds(monkeypatch, lambda: 0)
    with pytest.raises(UserError, match=r"one prompt of \d+ tokens and max_new_tokens=6; lower --max_new_tokens"):
        loaded.answers(Sampling(6))


def test_a_killed_generation_that_had_shrunk_is_resumed_to_the_same_sampled_answers(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed of an answer depends on the prompts that were answered together."""
    fields = {"generation_batch_size": 4, "sampling_temperature": 1.0, "max_new_tokens": 6}
    unbroken, killed = (tiny_config(experiment_name=name, **fields) for name in ("unbroken", "killed"))
    for config in (unbroken, killed):
        RunDir.of(config).train_data.parent.mkdir(parents=True)
        write_jsonl(RunDir.of(config).train_data, items(9))
    sizes = memory_holds(monkeypatch, lambda: 2)
    generate.run(unbroken, RunDir.of(unbroken))

    def kill(path: Path, rows: Any) -> None:
        append_jsonl(path, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("l2s.generation.answers.append_jsonl", kill)
        with pytest.raises(KeyboardInterrupt):
            generate.run(killed, RunDir.of(killed))
    sizes.clear()
    generate.run(killed, RunDir.of(killed))
    assert sizes == [4, 2, 2, 1]
    assert RunDir.of(killed).responses.read_bytes() == RunDir.of(unbroken).responses.read_bytes()


def evaluated(config: ExperimentConfig, *models: str) -> list[list[int]]:
    """Evaluate `models` as a run does, manifests included; return the batch sizes of each."""
    run_dir = RunDir.of(config)
    if not run_dir.eval_data.exists():
        run_dir.eval_data.parent.mkdir(parents=True)
        write_jsonl(run_dir.eval_data, items(9))
        run_dir.save_config(config)
    found = []
    for model in models:
        run_stage(STAGES[f"evaluate_{model}"], config, run_dir, "run")
        manifest = Manifest.load(run_dir.manifest(f"evaluate_{model}"))
        assert manifest is not None
        found.append(manifest.metrics["batch_sizes"])
    return found


def test_models_that_are_compared_take_the_parts_that_the_first_could(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(eval_batch_size=4, max_new_tokens=4)
    sizes = memory_holds(monkeypatch, lambda: 2 if len(sizes) < 2 else 99)
    assert evaluated(config, "teacher", "student_base") == [[4, 2], [4, 2]]
    assert sizes == [4, 2, 2, 4, 1, 2, 2, 4, 1]


def test_a_model_that_needs_smaller_parts_still_is_followed_by_those_after_it(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(eval_batch_size=4, max_new_tokens=4)
    sizes = memory_holds(monkeypatch, lambda: {1: 2, 7: 1}.get(len(sizes), 99))
    assert evaluated(config, "teacher", "student_base") == [[4, 2], [4, 2, 1]]
    assert sizes == [4, 2, 2, 4, 1, 2, 2, 1, 1, 4, 1]
    sizes.clear()
    assert evaluated(config, "teacher") == [[4, 2, 1]]
    assert sizes == [2, 1, 1, 4, 1]


def test_a_node_that_has_the_predictions_of_the_teacher_alone_takes_its_parts(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(eval_batch_size=4, max_new_tokens=4)
    with monkeypatch.context() as patch:
        memory_holds(patch, lambda: 2)
        evaluated(config, "teacher")
    RunDir.of(config).manifest("evaluate_teacher").unlink()
    assert evaluated(config, "student_base") == [[4, 2]]


def test_another_batch_size_is_a_comparison_of_its_own(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        memory_holds(patch, lambda: 2)
        assert evaluated(tiny_config(eval_batch_size=4, max_new_tokens=4), "teacher") == [[4, 2]]
    assert evaluated(tiny_config(eval_batch_size=8, max_new_tokens=4), "teacher") == [[8]]


def test_a_batch_of_hidden_states_that_does_not_fit_is_read_in_halves(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = [TrainingSequence(str(n), list(range(5 + n)), [-100] * 3 + [1] * (2 + n)) for n in range(5, 0, -1)]
    (expected,) = ModelHidden(loaded.model).of([sequences])
    sizes: list[int] = []
    whole = hidden.hidden_of

    def short(model: PreTrainedModel, batch: Any) -> torch.Tensor:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("as CUDA says it")
        return whole(model, batch)

    monkeypatch.setattr(hidden, "hidden_of", short)
    (found,) = ModelHidden(loaded.model).of([sequences])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert sizes == [5, 2, 3, 1, 2]
    monkeypatch.setattr(hidden, "hidden_of", lambda model, batch: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(UserError, match="one sequence of 10 tokens; lower --max_length"):
        list(ModelHidden(loaded.model).of([sequences]))
