"""The plan's memory of an update, compared with what torch allocates in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from l2s.config import ExperimentConfig
from l2s.loss import buffers
from l2s.models.attention import use_grouped_attention
from l2s.models.load import prepare_for_training
from l2s.plan import estimates
from l2s.plan.estimates import _Cut, _training_memory
from l2s.plan.hardware import GIB, Hardware
from l2s.plan.model_size import size_of
from l2s.plan.parts import Texts
from l2s.plan.situation import Situation
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from support.torch_memory import peak_bytes

CPU = Hardware("cpu", False, 16 * GIB, 1e12, 1e10, 3e9, 1e-3, "made up")
SHAPE: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
    "num_hidden_layers": 4, "tie_word_embeddings": True,
}  # fmt: skip
SEQUENCES, LENGTH, ANSWER = 4, 128, 32


def update_of(config: ExperimentConfig, vocabulary: int, micro_batches: int) -> Callable[[], None]:
    """An update of SFT, ready to run: forward and backward passes of equal micro-batches, and AdamW."""
    model: Any = Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, **SHAPE))
    use_grouped_attention(model, "cpu")
    student = StudentWithLoss(prepare_for_training(model, config), SFT_OBJECTIVE)
    optimizer = torch.optim.AdamW([one for one in student.parameters() if one.requires_grad], fused=True)
    ids = torch.ones(SEQUENCES, LENGTH, dtype=torch.long)
    labels = ids.clone()
    labels[:, :-ANSWER] = -100

    def run() -> None:
        for _ in range(micro_batches):
            student(input_ids=ids, labels=labels)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


@pytest.mark.parametrize("vocabulary", [512, 20_000])  # the gradients or the head fill the memory
@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_an_update_takes_what_torch_allocates(
    tuning: Literal["full", "lora"],
    micro_batches: int,
    vocabulary: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimates, "HEAP_KEEPS", 0)  # what malloc keeps is not seen by the profile
    monkeypatch.setattr(buffers, "_allocate", lambda size, dtype: torch.empty(size, dtype=dtype))  # seen by the profile
    buffers.release_buffers()
    config = ExperimentConfig(tuning=tuning, dtype="float32", gradient_checkpointing=False, device="cpu", lora_r=4)
    Qwen3Config(vocab_size=vocabulary, **SHAPE).save_pretrained(tmp_path)
    size = size_of(str(tmp_path), config)
    run = update_of(config, vocabulary, micro_batches)
    trained = size.parameters if tuning == "full" else 100_000
    run()  # AdamW's moments exist from here on
    buffers.release_buffers()
    situation = Situation(config, CPU, size, size, lora_parameters=trained)
    planned = _training_memory(situation, _Cut(micro_batches, SEQUENCES * LENGTH, SEQUENCES * ANSWER), "none", models=1)
    there_before = planned.weights + 8 * trained
    found = peak_bytes(run)
    buffers.release_buffers()
    assert planned.total - there_before == pytest.approx(found, rel=0.15)


def test_tokens_per_batch_bounds_a_micro_batch_as_the_trainer_cuts_it() -> None:
    texts = [Texts("made up", 1000, 100, 200, 50, 100)]
    size: Any = None

    def cut(**fields: Any) -> _Cut:
        situation = Situation(ExperimentConfig(max_new_tokens=100, **fields), CPU, size, size, lora_parameters=1)
        return estimates._cut(situation, texts, 32, 64)

    assert cut() == _Cut(2, 32 * 300, 32 * 100)
    assert cut(tokens_per_batch=600) == _Cut(16, 2 * 300, 2 * 100)
    assert cut(tokens_per_batch=100) == _Cut(64, 300, 100)  # a sequence is never cut
    assert cut(tokens_per_batch=10**9) == _Cut(1, 64 * 300, 64 * 100)
