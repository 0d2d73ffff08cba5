"""The workers of data loaders are forked, also where Python starts processes in another way (3.14)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.training import on_policy, run_trainer, sft, trainer
from support import on_policy as opd
from support.on_policy import MakeConfig, short_trainings


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Data loaders have the workers that a GPU gets, and processes start as in Python 3.14."""
    settings = run_trainer.training_settings
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    monkeypatch.setattr(run_trainer, "pick_device", lambda config: torch.device("cuda"))
    for module in (trainer, on_policy):
        monkeypatch.setattr(module, "training_settings", lambda *given: settings(*given) | {"use_cpu": True})
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("on_a_gpu")
def test_workers_read_the_sequences_of_sft(tiny_config: MakeConfig) -> None:
    config = tiny_config(sft_batch_size=4)
    run_dir = RunDir.of(config)
    run_dir.responses.parent.mkdir(parents=True)
    asked: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    answer = {"messages": asked, "response": "Hello", "finish_reason": "stop"}
    write_jsonl(run_dir.responses, [{"id": f"hi/{n}", **answer} for n in range(8)])
    assert sft.run(config, run_dir)["steps"] == len(load_jsonl(run_dir.arm("sft").metrics)) > 0


@pytest.mark.usefixtures("on_a_gpu")
def test_workers_read_the_prompts_of_opd(tiny_config: MakeConfig) -> None:
    pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")
    config = short_trainings(tiny_config, opd_steps=2)()
    assert opd.run(config)["steps"] == len(opd.metrics(config)) == 2
