"""On-policy distillation pads prompts on the left; each token is still read at its own position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from l2s.chat import load_renderer
from l2s.loss.reference import distillation_loss
from l2s.models.load import load_model, load_student_for_training
from l2s.models.tiny import build_tokenizer
from l2s.run_dir import RunDir
from l2s.training import on_policy
from l2s.training.prompts import Prompt, Prompts
from l2s.training.teacher_prompts import TeacherView
from support.on_policy import MakeConfig, metrics, record_answers, short_trainings

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")

UNEQUAL: list[Prompt] = [[{"role": "user", "content": "How are you today? " * number + "!"}] for number in range(6)]


def save_gpt2(folder: Path, *, seed: int, width: int) -> str:
    """A two-layer GPT-2, whose positions are learned."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": 304, "n_embd": width, "n_layer": 2, "n_head": 4, "n_positions": 512}
    silent: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    ends: dict[str, Any] = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    GPT2LMHeadModel(GPT2Config(**sizes, **silent, **ends, initializer_range=0.2)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_loss_is_that_of_sequences_without_padding(tiny_config: MakeConfig, tmp_path: Path, positions: str) -> None:
    models = {}
    if positions == "learned":
        models["teacher_model"] = save_gpt2(tmp_path / "teacher", seed=1, width=64)
        models["student_model"] = save_gpt2(tmp_path / "student", seed=2, width=32)
    config = short_trainings(tiny_config, tuning="full", opd_steps=1, **models)()
    renderer = load_renderer(config, "student_model")
    student: Any = load_student_for_training(config.student_model, config)
    teacher: Any = load_model(config.teacher_model, config)
    exact_student = load_student_for_training(config.student_model, config).double().eval()
    answers = record_answers(student)

    view = TeacherView(renderer, renderer)
    on_policy.train(student, teacher, Prompts(UNEQUAL, UNEQUAL, 0), view, config, RunDir.of(config).opd)

    [(prompts_BP, output_BT)] = answers
    assert (prompts_BP == renderer.pad_token_id).any()
    exact_teacher, total = teacher.double(), torch.zeros(2, dtype=torch.float64)
    for prompt, row in zip(prompts_BP.tolist(), output_BT[:, prompts_BP.shape[1] :].tolist(), strict=True):
        asked = [token for token in prompt if token != renderer.pad_token_id]
        ends = [place + 1 for place, token in enumerate(row) if token in renderer.stop_ids]
        answer = row[: min(ends, default=len(row))]
        tokens = torch.tensor([asked + answer])
        labels = torch.tensor([[-100] * (len(asked) - 1) + answer + [-100]])
        with torch.no_grad():
            found = distillation_loss(
                exact_student(input_ids=tokens).logits, exact_teacher(input_ids=tokens).logits, labels,
                alpha=0.0, temperature=1.0, divergence="reverse_kl",
            )  # fmt: skip
        total += torch.tensor([float(found.divergence_sum), found.num_tokens])
    [step] = metrics(config)
    assert step["divergence"] == pytest.approx(float(total[0] / total[1]), rel=1e-5)
