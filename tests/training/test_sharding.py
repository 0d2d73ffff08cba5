"""How ranks hold the student: the meaning of `auto`, DeepSpeed's configuration, and fitting checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.training.sharding import check_checkpoint, choose_sharding, zero_config


@pytest.mark.parametrize(
    ("fields", "ranks", "device", "expected"),
    [
        ({"tuning": "full"}, 1, "cuda", "none"),
        ({"tuning": "full"}, 4, "cuda", "fsdp2"),
        ({"tuning": "full"}, 4, "cpu", "ddp"),
        ({"tuning": "qlora"}, 4, "cuda", "ddp"),
        ({"tuning": "lora", "sharding": "zero3"}, 4, "cuda", "zero3"),
        ({"tuning": "full", "sharding": "ddp"}, 2, "cuda", "ddp"),
    ],
)
def test_auto_shards_what_is_trained_whole(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], ranks: int, device: str, expected: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    monkeypatch.setattr("l2s.training.sharding.pick_device", lambda config: torch.device(device))
    assert choose_sharding(ExperimentConfig(**fields)) == expected


def test_deepspeed_leaves_micro_batches_to_the_trainer() -> None:
    found = zero_config(ExperimentConfig(max_grad_norm=0.5), 3)
    assert found["zero_optimization"]["stage"] == 3
    assert (found["train_micro_batch_size_per_gpu"], found["gradient_accumulation_steps"]) == ("auto", 1)
    assert (found["gradient_clipping"], found["communication_data_type"]) == (0.5, "fp32")


def test_a_checkpoint_of_deepspeed_is_for_as_many_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_checkpoint(tmp_path, "ddp")
    with pytest.raises(UserError, match="left by a training without DeepSpeed, and this training has 2 such ranks"):
        check_checkpoint(tmp_path, "zero2")
    folder = tmp_path / "global_step4"
    folder.mkdir()
    for rank in range(2):
        (folder / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
    check_checkpoint(tmp_path, "zero2")
    with pytest.raises(UserError, match="left by 2 ranks of DeepSpeed, and this training has none"):
        check_checkpoint(tmp_path, "ddp")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match="left by 2 ranks of DeepSpeed, and this training has 4 such ranks"):
        check_checkpoint(tmp_path, "zero2")
