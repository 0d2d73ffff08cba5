"""Updates: the same sequences on any number of ranks and with any memory limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.models.load import load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, TrainingSequence, load_sequences
from l2s.training.sampler import LengthGroupedSampler
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import DistillationTrainer, Schedule, train
from l2s.training.updates import Limit, Updates, UpdateSampler, cut, micro_batches, share

MakeConfig = Callable[..., ExperimentConfig]
LENGTHS = [10 + 7 * number % 90 for number in range(22)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8, 30])
@pytest.mark.parametrize("limit", [Limit(4), Limit(1), Limit(4, tokens=150)])
def test_ranks_share_an_update_and_take_as_many_steps(ranks: int, limit: Limit) -> None:
    update = list(range(3, 22))
    cuts = [micro_batches(update, LENGTHS, limit, rank, ranks) for rank in range(ranks)]
    assert sorted(index for batches in cuts for batch in batches for index in batch) == update
    assert len({len(batches) for batches in cuts}) == 1
    sizes = [len(share(update, LENGTHS, rank, ranks)) for rank in range(ranks)]
    assert max(sizes) - min(sizes) <= 1


def test_one_rank_takes_the_batches_as_they_come() -> None:
    update = [5, 3, 9, 1, 7]
    assert micro_batches(update, LENGTHS, Limit(2), 0, 1) == [[5, 3], [9, 1], [7]]


def test_a_budget_of_tokens_counts_padding_and_lets_a_long_sequence_be() -> None:
    for batch in cut(range(22), LENGTHS, Limit(1, tokens=200)):
        assert len(batch) == 1 or len(batch) * max(LENGTHS[index] for index in batch) <= 200
    assert len(cut(range(22), LENGTHS, Limit(1, tokens=200))) < 22
    assert cut([0, 1], [300, 5], Limit(9, tokens=200)) == [[0], [1]]


def test_updates_are_consecutive_sequences_of_the_epoch() -> None:
    sampler = UpdateSampler(LengthGroupedSampler(LENGTHS, 4, seed=1), 8)
    sampler.set_epoch(2)
    order = LengthGroupedSampler(LENGTHS, 4, seed=1)
    order.set_epoch(2)
    updates = list(sampler)
    assert [len(update) for update in updates] == [8, 8, 6]
    assert len(sampler) == 3
    assert [index for update in updates for index in update] == list(order)


def train_tiny(config: ExperimentConfig) -> list[dict[str, Any]]:
    """The curve of two epochs of SFT on 14 answers of many lengths, six in each update."""
    run_dir = RunDir.of(config)
    rows = [
        {"id": f"n/{n}", "messages": [{"role": "user", "content": "Say it." + " Now." * (n % 4)}],
         "response": "so " * (n % 6) + str(n), "finish_reason": "stop"}
        for n in range(14)
    ]  # fmt: skip
    run_dir.responses.parent.mkdir(parents=True)
    write_jsonl(run_dir.responses, rows)
    renderer = load_renderer(config, "student_model")
    sequences, _ = load_sequences(run_dir.responses, renderer, config)
    student = StudentWithLoss(load_student_for_training(config.student_model, config), SFT_OBJECTIVE)
    collator = Collator(renderer.pad_token_id)
    train(student, SequenceDataset(sequences), collator, config, Schedule(2, 3, 1e-2), run_dir.sft)
    return load_jsonl(run_dir.sft / "metrics.jsonl")


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected) == 6
    for left, right in zip(found, expected, strict=True):
        assert left == pytest.approx(right, rel=1e-4)


def memory_runs_out(monkeypatch: pytest.MonkeyPatch, when: Callable[[int, int], bool]) -> list[int]:
    """Let the student run out of memory where `when(call, sequences)`; return the list of batch sizes that it saw."""
    sizes: list[int] = []
    forward = StudentWithLoss.forward

    def short(self: StudentWithLoss, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        sizes.append(len(kwargs["input_ids"]))
        if when(len(sizes), sizes[-1]):
            raise torch.OutOfMemoryError("as CUDA says it")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(StudentWithLoss, "forward", short)
    return sizes


UPDATE = {"tuning": "full", "gradient_accumulation_steps": 2}


def test_where_memory_runs_out_that_step_is_repeated_with_half(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train_tiny(tiny_config(experiment_name="enough", **UPDATE))
    sizes = memory_runs_out(monkeypatch, lambda call, size: call == 4)  # in the second half of the second step
    assert_same(train_tiny(tiny_config(experiment_name="short", **UPDATE)), expected)
    assert sizes[:11] == [3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "step 2: out of memory with 3 sequences at a time; repeated with 1 sequence" in capsys.readouterr().out


def test_a_halving_is_taken_back_after_a_while_and_comes_back_if_that_was_too_early(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("l2s.training.trainer.GROW_AFTER", 2)
    expected = train_tiny(tiny_config(experiment_name="enough", **UPDATE))
    sizes = memory_runs_out(monkeypatch, lambda call, size: size == 3 and call < 20)
    assert_same(train_tiny(tiny_config(experiment_name="short", **UPDATE)), expected)
    assert sizes == [3, *[1] * 12, 2, 3, *[1] * 12, 2]  # updates of 6, 6 and 2 sequences, twice
    assert capsys.readouterr().out.count("out of memory with 3 sequences at a time; repeated with 1") == 2


def test_a_backward_pass_that_runs_out_of_memory_leaves_no_gradient(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_tiny(tiny_config(experiment_name="enough", **UPDATE))
    calls = 0
    compute_loss = DistillationTrainer.compute_loss

    def after_backward(self: DistillationTrainer, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, outputs = compute_loss(self, *args, **kwargs)
        if calls == 3:
            loss.backward()
            raise torch.OutOfMemoryError("as CUDA says it")
        return loss, outputs

    monkeypatch.setattr(DistillationTrainer, "compute_loss", after_backward)
    assert_same(train_tiny(tiny_config(experiment_name="short", **UPDATE)), expected)


def test_a_budget_of_tokens_changes_no_update(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train_tiny(tiny_config(experiment_name="count", **UPDATE))
    sizes = memory_runs_out(monkeypatch, lambda call, size: call == 2)
    assert_same(train_tiny(tiny_config(experiment_name="budget", tokens_per_batch=150, **UPDATE)), expected)
    assert len(set(sizes)) > 1


def test_a_sequence_that_does_not_fit_by_itself_is_an_error_with_the_ways_out(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_runs_out(monkeypatch, lambda call, size: True)
    with pytest.raises(UserError, match=r"step 1: a sequence of \d+ tokens does not fit .* --max_length"):
        train_tiny(tiny_config(**UPDATE))


def test_ranks_with_shards_end_with_the_budget_that_resumes_them(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot repeat a step: while one fails, the others wait for its shards."""
    config = tiny_config(**UPDATE)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingArguments, "world_size", property(lambda self: 2))
        patch.setattr("l2s.training.trainer.is_replicated", lambda model: False)
        memory_runs_out(patch, lambda call, size: True)
        with pytest.raises(
            UserError, match=r"step 1: out of memory with 3 sequences .* --tokens_per_batch (\d+)"
        ) as told:
            train_tiny(config)
        found = re.search(r"tokens_per_batch (\d+)", str(told.value))
        assert found
        budget = int(found[1])
        with pytest.raises(UserError, match=r"a sequence of \d+ tokens does not fit in memory by itself"):
            train_tiny(tiny_config(experiment_name="single", tokens_per_batch=1, **UPDATE))
    sizes = memory_runs_out(monkeypatch, lambda call, size: size == 3)
    resumed = train_tiny(tiny_config(experiment_name="resumed", tokens_per_batch=budget, **UPDATE))
    assert len(resumed) == 6
    assert 3 not in sizes


def test_a_rank_with_less_to_do_does_not_end_the_training(tiny_config: MakeConfig) -> None:
    """Of three sequences one rank has two, which is what is halved when memory runs out there."""
    sequences = [TrainingSequence(str(n), list(range(10 + n)), [-100] * 10 + [1] * n) for n in range(1, 4)]
    updates = Updates(SequenceDataset(sequences), rank=1, ranks=2)
    update = updates[0]
    update = replace(update, indices=[0, 1, 2])
    assert sorted(updates.sizes(update, Limit(2))) == [(1, 12), (2, 26)]
    assert all(number == 1 for number, _ in updates.sizes(update, Limit(2).halved()))
