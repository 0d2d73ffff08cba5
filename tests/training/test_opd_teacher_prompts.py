"""In on-policy distillation the teacher reads the student's answers after its own prompts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from l2s.chat import load_renderer
from l2s.errors import UserError
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.reference import distillation_loss
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.runner.pipeline import STAGES
from l2s.tasks.types import Message
from l2s.training import on_policy
from l2s.training.prompts import Prompts, check_teacher_fits, example, load_prompts
from l2s.training.teacher_prompts import TOKENS, TeacherView
from support.on_policy import ASKED, PROMPTS, MakeConfig, metrics, record_answers, run, short_trainings

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")

RUNBOOK = "Sums of small numbers are small."


@pytest.fixture
def make(tiny_config: MakeConfig) -> MakeConfig:
    return short_trainings(tiny_config, tuning="full", opd_steps=1)


def told_more(prompt: list[Message]) -> list[Message]:
    return [{"role": "system", "content": RUNBOOK}, *prompt]


@pytest.mark.parametrize("told", [{0, 1, 2, 3, 4, 5}, {0, 3}, set()])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_loss_is_the_divergence_to_a_teacher_with_its_own_prompts(
    make: MakeConfig, told: set[int], micro_batches: int
) -> None:
    """Compared with the reference loss on whole logits, where some prompts of an update differ, or all, or none."""
    config = make(opd_batch_size=4 // micro_batches, gradient_accumulation_steps=micro_batches)
    run_dir, renderer = RunDir.of(config), load_renderer(config, "student_model")
    student: Any = load_student_for_training(config.student_model, config)
    unchanged = load_student_for_training(config.student_model, config)
    teacher = load_model(config.teacher_model, config)
    shown = [told_more(prompt) if number in told else prompt for number, prompt in enumerate(PROMPTS)]
    answers = record_answers(student)

    on_policy.train(student, teacher, Prompts(PROMPTS, shown, 0), TeacherView(renderer, renderer), config, run_dir.opd)

    [(prompts_BP, output_BT)] = answers
    pad, width = renderer.pad_token_id, prompts_BP.shape[1]
    of_teacher = {
        tuple(renderer.prompt_ids(plain)): renderer.prompt_ids(own) for plain, own in zip(PROMPTS, shown, strict=True)
    }
    total = torch.zeros(2, dtype=torch.float64)
    for prompt, row in zip(prompts_BP.tolist(), output_BT[:, width:].tolist(), strict=True):
        ours = [token for token in prompt if token != pad]
        theirs = of_teacher[tuple(ours)]
        answer = row[: row.index(renderer.end_id) + 1] if renderer.end_id in row else row
        with torch.no_grad():
            student_KV, teacher_KV = (
                model(input_ids=torch.tensor([[*asked, *answer]])).logits[0, len(asked) - 1 : -1]
                for model, asked in ((unchanged, ours), (teacher, theirs))
            )
        found = distillation_loss(
            student_KV, teacher_KV[:, : student_KV.shape[1]], torch.tensor(answer), alpha=0.0, temperature=1.0,
            divergence="reverse_kl",
        )  # fmt: skip
        total += torch.tensor([float(found.divergence_sum), len(answer)])
    [step] = metrics(config)
    assert step["num_tokens"] == total[1]
    assert step["divergence"] == pytest.approx(float(total[0] / total[1]), rel=1e-4)


def test_what_only_the_teacher_sees_changes_the_training(make: MakeConfig, tmp_path: Path) -> None:
    """The whole stage, with a runbook: the student's prompts are the same, the teacher's are not."""
    file = tmp_path / "runbook.md"
    file.write_text(RUNBOOK)
    plain, told = (
        make(experiment_name=name, opd_steps=2, teacher_context=context)
        for name, context in (("plain", "none"), ("told", f"file:{file}"))
    )
    for config in (plain, told):
        run(config)
    first, other = metrics(plain)[0], metrics(told)[0]
    assert first["num_tokens"] == other["num_tokens"]  # the first answers come from the same student
    assert first["divergence"] != pytest.approx(other["divergence"], rel=1e-3)


def test_another_seed_of_the_training_leaves_the_teachers_examples_as_they_were(
    make: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(seed=42, teacher_context="fewshot:1")
    run_dir = RunDir.of(config)
    run_dir.save_config(config)
    solved = [
        row | {"domain": "math", "meta": {"solution": f"It is {n}.\n#### {n}"}}
        for n, row in enumerate(load_jsonl(run_dir.train_data) * 3)
    ]
    write_jsonl(run_dir.train_data, [row | {"id": f"n/{n}"} for n, row in enumerate(solved)])
    asked: list[list[list[Message]]] = []

    def seen(path: Path, renderer: Any, given: Any) -> Prompts:
        asked.append(list(load_prompts(path, renderer, given).of_teacher))
        raise InterruptedError

    monkeypatch.setattr(on_policy, "load_prompts", seen)
    for seed in (42, 7):
        with pytest.raises(InterruptedError):
            on_policy.run(config.model_copy(update={"seed": seed}), run_dir)
    assert asked[0] == asked[1]
    assert len(asked[0][0]) > 1  # an example before the question
    other = load_prompts(
        run_dir.train_data, load_renderer(config, "student_model"), config.model_copy(update={"seed": 7})
    )
    assert list(other.of_teacher) != asked[0]  # the seed alone would have chosen others


def test_prompts_of_the_teacher_hold_the_context_of_their_domain(make: MakeConfig) -> None:
    config = make(teacher_context="math=reference")
    path = RunDir.of(config).train_data
    write_jsonl(path, [row | {"meta": {"solution": f"#### {n}"}} for n, row in enumerate(load_jsonl(path))])
    found = load_prompts(path, load_renderer(config, "student_model"), config)
    assert list(found.kept) == PROMPTS
    for number, messages in enumerate(found.of_teacher):
        assert f"#### {number}" in messages[-1]["content"]
        assert messages[-1]["content"].startswith(PROMPTS[number][-1]["content"])


def test_a_teacher_with_another_template_reads_its_own(make: MakeConfig) -> None:
    config = make()
    student, shared = (load_renderer(config, field) for field in ("student_model", "teacher_model"))
    teacher = copy.deepcopy(shared)  # other tests read the same renderer
    teacher.tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}<|im_end|>"
    view = TeacherView(teacher, student)
    theirs = example(ASKED, 2, view)[TOKENS]
    assert theirs == teacher.prompt_ids(PROMPTS[2]) != student.prompt_ids(PROMPTS[2])
    assert TOKENS not in example(ASKED, 2, TeacherView(student, student))


def test_a_context_that_fills_the_teachers_window_is_refused_before_the_training(
    make: MakeConfig, tmp_path: Path
) -> None:
    file = tmp_path / "runbook.md"
    file.write_text("x" * (1 << 15))  # the window of the tiny models; a byte is a token
    config = make(teacher_context=f"file:{file}")
    renderer = load_renderer(config, "student_model")
    prompts = load_prompts(RunDir.of(config).train_data, renderer, config)
    with pytest.raises(UserError, match=r"teacher_context=.*a prompt of the teacher has 3\d{4} tokens.*opd_max_new"):
        check_teacher_fits(prompts.of_teacher, TeacherView(renderer, renderer), config)


def test_another_context_is_another_training(make: MakeConfig, tmp_path: Path) -> None:
    file = tmp_path / "runbook.md"
    file.write_text(RUNBOOK)
    config = make(teacher_context=f"file:{file}")
    stage = STAGES["opd"]
    assert "teacher_context" in stage.reads
    assert file in stage.inputs(RunDir.of(config), config)
