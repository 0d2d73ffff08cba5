"""How ranks hold the student: the meaning of `auto`, DeepSpeed's configuration, and checkpoints of other versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.training.sharding import BUCKET, bucket_numbers, check_checkpoint, choose_sharding, zero_config


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
    found = zero_config(ExperimentConfig(max_grad_norm=0.5), 3, 1000)
    assert found["zero_optimization"]["stage"] == 3
    assert (found["train_micro_batch_size_per_gpu"], found["gradient_accumulation_steps"]) == ("auto", "auto")
    assert (found["gradient_clipping"], found["communication_data_type"]) == (0.5, "fp32")
    assert found["zero_optimization"]["reduce_bucket_size"] == 1000  # a bucket takes its whole room
    assert bucket_numbers(8 * 10**9) == BUCKET
    assert found["data_types"] == {"grad_accum_dtype": "fp32"}


def test_a_checkpoint_in_deepspeeds_own_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "global_step4").mkdir()
    with pytest.raises(UserError, match=r"holds no model\.safetensors: another version of l2s left it.*--force"):
        check_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").touch()
    check_checkpoint(tmp_path)
