"""Checks of --sharding before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.runner.preflight import check_sharding


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sharding": "fsdp2", "device": "cpu"}, "sharding='fsdp2': shards need GPUs; on a CPU use --sharding ddp"),
        ({"sharding": "zero3", "tuning": "qlora"}, "sharding='zero3': cannot split 4-bit weights; use zero2 or ddp"),
        ({"sharding": "zero2"}, r"sharding='zero2' needs deepspeed, .*'\.\[deepspeed\]'"),
    ],
)
def test_sharding_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=words):
        check_sharding(ExperimentConfig(**fields))


def test_a_machine_without_gpus_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sharding(ExperimentConfig(sharding="fsdp2"))
    with pytest.raises(UserError, match="shards need GPUs"):
        check_sharding(ExperimentConfig(sharding="fsdp2"), on_cpu=True)
    check_sharding(ExperimentConfig(sharding="ddp"), on_cpu=True)
