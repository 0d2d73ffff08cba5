"""On-policy distillation as a stage: TRL's trainer with this project's prompts, settings, metrics and checkpoints."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.chat import load_renderer
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.reference import distillation_loss
from l2s.models.head import output_head
from l2s.models.load import load_model, load_student_for_training
from l2s.models.tiny import save_tiny_model
from l2s.run_dir import RunDir
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models
from l2s.training import on_policy
from l2s.training.checkpoints import checkpoints_in
from l2s.training.prompts import Prompts, draw, load_prompts, shuffled
from l2s.training.teacher_prompts import TeacherView
from support.held_memory import bytes_held
from support.kills import killed_after
from support.on_policy import ASKED, PROMPTS, MakeConfig, metrics, record_answers, run, short_trainings
from support.payload import plant

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")


@pytest.fixture
def make(tiny_config: MakeConfig) -> MakeConfig:
    return short_trainings(tiny_config)


@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
def test_the_stage_leaves_a_loadable_student(make: MakeConfig, tuning: str) -> None:
    config = make(tuning=tuning, opd_steps=3, gradient_accumulation_steps=2, gradient_checkpointing=True)
    opd = RunDir.of(config).opd

    found = run(config)

    trained = AutoModelForCausalLM.from_pretrained(opd / "final_model").state_dict()
    base = AutoModelForCausalLM.from_pretrained(config.student_model).state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert trained.keys() == base.keys()
    assert trained[name].shape == base[name].shape
    assert not trained[name].float().equal(base[name].float())
    assert (opd / "adapter").exists() == (tuning != "full")
    assert [row["step"] for row in metrics(config)] == [1, 2, 3]
    assert found["steps"] == 3
    assert found["num_tokens"] == sum(row["num_tokens"] for row in metrics(config))
    assert 3 * 8 <= found["num_tokens"] <= 3 * 8 * config.opd_max_new_tokens


@pytest.mark.parametrize("divergence", ["reverse_kl", "forward_kl", "jsd"])
def test_the_loss_is_the_divergence_at_the_answers_of_the_student(make: MakeConfig, divergence: str) -> None:
    """TRL's loss of a step compared with the reference loss on whole logits, at the student's own answers."""
    config = make(tuning="full", opd_steps=1, opd_divergence=divergence, divergence_beta=0.3)
    run_dir, renderer = RunDir.of(config), load_renderer(config, "student_model")
    student: Any = load_student_for_training(config.student_model, config)
    teacher = load_model(config.teacher_model, config)
    unchanged = load_student_for_training(config.student_model, config)
    answers = record_answers(student)

    on_policy.train(student, teacher, ASKED, TeacherView(renderer, renderer), config, run_dir.opd)

    [(prompts_BP, output_BT)] = answers
    pad, width = renderer.pad_token_id, prompts_BP.shape[1]
    asked = [[token for token in row if token != pad] for row in prompts_BP.tolist()]
    assert asked == [renderer.prompt_ids(prompt) for prompt in draw(PROMPTS, 4, config.seed)]
    total = torch.zeros(2, dtype=torch.float64)
    for prompt, row in zip(asked, output_BT[:, width:].tolist(), strict=True):
        stop = row.index(renderer.end_id) + 1 if renderer.end_id in row else len(row)
        tokens = torch.tensor([prompt + row[:stop]])
        labels = torch.tensor([[-100] * (len(prompt) - 1) + row[:stop] + [-100]])
        with torch.no_grad():
            found = distillation_loss(
                unchanged(input_ids=tokens).logits, teacher(input_ids=tokens).logits, labels,
                alpha=0.0, temperature=1.0, divergence=divergence, beta=0.3,
            )  # fmt: skip
        total += torch.tensor([float(found.divergence_sum), found.num_tokens])
    [step] = metrics(config)
    assert step["num_tokens"] == total[1]
    assert step["loss"] == step["divergence"] == pytest.approx(float(total[0] / total[1]), rel=1e-4)


def test_the_divergence_falls(make: MakeConfig) -> None:
    config = make(tuning="full", opd_steps=15, opd_batch_size=6, opd_lr=3e-2)
    run(config)

    divergence = [row["divergence"] for row in metrics(config)]
    assert sum(divergence[-3:]) < 0.75 * sum(divergence[:3])


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_killed_training_ends_as_an_unbroken_one(make: MakeConfig, tuning: str) -> None:
    """Six prompts in batches of four: the answers after the kill come from the second and third pass over them."""
    batches = {"opd_batch_size": 2, "gradient_accumulation_steps": 2}
    unbroken, killed = (
        make(experiment_name=name, tuning=tuning, opd_steps=5, save_steps=2, **batches)
        for name in ("unbroken", "killed")
    )
    run(unbroken)

    with killed_after(3):
        run(killed)
    (RunDir.of(killed).opd / "checkpoints" / "checkpoint-4").mkdir()  # the kill came while this one was written
    run(killed)

    assert [row["step"] for row in metrics(killed)] == [1, 2, 3, 4, 5]
    for left, right in zip(metrics(killed), metrics(unbroken), strict=True):
        assert left == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_pickle_in_a_checkpoint_is_refused_and_never_runs(make: MakeConfig, tmp_path: Path, name: str) -> None:
    config = make(opd_steps=4, save_steps=2, opd_batch_size=2)
    with killed_after(3):
        run(config)
    plant(RunDir.of(config).opd / "checkpoints" / "checkpoint-2", name, tmp_path / "ran")
    with pytest.raises(UserError, match=r"checkpoint-2: a file in it holds a pickle .*remove this folder"):
        run(config)
    assert not (tmp_path / "ran").exists()


def test_every_pass_asks_every_prompt_once() -> None:
    drawn = draw(PROMPTS, 15, seed=1)

    asked = [prompt[0]["content"] for prompt in drawn]
    assert set(Counter(asked[:6]).values()) == set(Counter(asked[6:12]).values()) == {1}
    assert asked[:6] != asked[6:12]
    assert len(asked) == 15


@pytest.mark.parametrize("length", [1, 2, 21, 22, 700])
def test_the_order_of_a_pass_is_that_of_a_sample(length: int) -> None:
    """Prompts may stay on disk; the order of earlier trainings must not change, because they resume."""
    ours, theirs = random.Random(7), random.Random(7)
    for _ in range(2):
        assert list(shuffled(length, ours)) == theirs.sample(range(length), length)


class Short:
    """Stands for a renderer whose prompts always fit."""

    def prompt_ids(self, messages: object) -> list[int]:
        """See `ChatRenderer`."""
        return [1]


def test_prompts_stay_on_disk(make: MakeConfig) -> None:
    """What memory holds of 500 prompts, and of a training on them, does not depend on how long they are."""
    config, renderer = make(), cast(Any, Short())
    path = RunDir.of(config).train_data

    def taken(text: str) -> int:
        row = {"domain": "math", "messages": [{"role": "user", "content": text}]}
        write_jsonl(path, ({"id": str(n), **row} for n in range(500)))

        def load() -> tuple[Prompts, Any]:
            found = load_prompts(path, renderer, config)
            return found, draw(found.kept, 750, seed=1)

        size, (_, drawn) = bytes_held(load)
        assert len(drawn) == 750
        assert drawn[0][0]["content"] == text
        return size

    assert taken("a" * 10_000) - taken("a") < 50_000


def test_a_prompt_that_leaves_no_room_is_dropped_and_counted(make: MakeConfig) -> None:
    config = make()
    path, renderer = RunDir.of(config).train_data, load_renderer(config, "student_model")
    long = {"id": "long", "domain": "math", "messages": [{"role": "user", "content": "x" * config.max_length}]}
    write_jsonl(path, [*load_jsonl(path), long])

    found = load_prompts(path, renderer, config)

    assert (list(found.kept), found.dropped_overlong) == (PROMPTS, 1)
    with pytest.raises(UserError, match=r"none of 7 prompts .* leaves room for opd_max_new_tokens=500"):
        load_prompts(path, renderer, config.model_copy(update={"opd_max_new_tokens": 500}))


def test_padding_rows_of_the_teacher_are_cut_and_its_answers_stay(make: MakeConfig) -> None:
    config = make()
    teacher: Any = load_model(config.teacher_model, config)
    tokens = torch.arange(20, 40)[None]
    before = teacher(input_ids=tokens).logits

    on_policy.fit_vocabulary(teacher, 304)

    assert output_head(teacher).weight.shape[0] == teacher.config.vocab_size == 304
    assert teacher(input_ids=tokens).logits.equal(before[..., :304])
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_a_teacher_with_a_smaller_head_is_refused(make: MakeConfig, tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "small", seed=3, hidden_size=32, vocab_size=288, tied=True)
    config = make(teacher_model=str(tmp_path / "small"))
    with pytest.raises(UserError, match="small': its output head has 288 rows and the student's 304"):
        check_models(config, [STAGES["opd"]])


def test_a_loss_that_is_not_a_number_ends_the_training(make: MakeConfig) -> None:
    config = make(opd_steps=1)
    renderer, folder = load_renderer(config, "student_model"), RunDir.of(config).opd
    student = load_student_for_training(config.student_model, config)
    teacher: Any = load_model(config.teacher_model, config)
    teacher.get_decoder().norm.weight.data.fill_(float("nan"))

    with pytest.raises(UserError, match="loss of step 1 is nan"):
        on_policy.train(student, teacher, ASKED, TeacherView(renderer, renderer), config, folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_a_number_ends_the_training_at_its_step(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    config = make(opd_steps=4, save_steps=1)
    clip = torch.nn.utils.clip_grad_norm_
    norms = 0

    def spoilt(weights: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal norms
        norms += 1
        weights = list(weights)
        if norms == 3:  # the loss of this step is a number; only the next one would show it
            next(weight for weight in weights if weight.grad is not None).grad.view(-1)[0] = value
        return clip(weights, *args, **kwargs)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spoilt)
    with pytest.raises(UserError, match=rf"the gradient norm of step 3 is {value} .*--opd_lr"):
        run(config)
    assert [row["step"] for row in metrics(config)] == [1, 2]
    assert {path.name for path in checkpoints_in(RunDir.of(config).arm("opd").checkpoints)} <= {
        "checkpoint-1", "checkpoint-2",
    }  # fmt: skip


def test_a_loss_that_explodes_ends_the_training(make: MakeConfig) -> None:
    """A student that guesses is at most about ln(304) = 5.7 nats from a teacher; ten times that is no student."""
    config = make(opd_steps=2)
    renderer, folder = load_renderer(config, "student_model"), RunDir.of(config).opd
    student = load_student_for_training(config.student_model, config)
    teacher: Any = load_model(config.teacher_model, config)
    teacher.get_output_embeddings().weight.data *= 1e4

    with pytest.raises(
        UserError, match=r"the loss of step 1 is \d.* more than 10 times that of a student that guesses, 5\.7"
    ):
        on_policy.train(student, teacher, ASKED, TeacherView(renderer, renderer), config, folder)


@pytest.mark.parametrize(
    ("prompts", "at_a_time", "ranks", "expected"),
    [(8, 2, 1, (2, 4)), (8, 2, 4, (2, 1)), (8, 2, 8, (1, 1)), (6, 4, 2, (3, 1))],
)
def test_ranks_share_an_update_equally(prompts: int, at_a_time: int, ranks: int, expected: tuple[int, int]) -> None:
    assert on_policy.share_update(prompts, at_a_time, ranks) == expected


def test_an_update_that_ranks_cannot_share_equally_is_refused() -> None:
    with pytest.raises(UserError, match="opd_batch_size=2: an update of 8 prompts cannot be shared equally by 3 ranks"):
        on_policy.share_update(8, 2, 3)


def test_lora_stays_in_float32_on_4_bit_weights(make: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL casts it to bfloat16."""
    seen: dict[str, torch.dtype] = {}

    def keep(student: Any, *args: Any) -> dict[str, Any]:
        seen.update({name: weight.dtype for name, weight in student.named_parameters() if weight.requires_grad})
        return {}

    monkeypatch.setattr(on_policy, "save_student", keep)
    run(make(tuning="qlora", opd_steps=1))
    assert set(seen.values()) == {torch.float32}
    assert all("lora_" in name for name in seen)
