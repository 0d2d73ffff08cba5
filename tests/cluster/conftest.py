"""The experiment that tests of clusters compare with: all its stages in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.selection import select_stages, settle
from support.ray_nodes import settings_of


@pytest.fixture(scope="session")
def models(tiny_model_dir: Path) -> Path:
    """The folder of the tiny pair."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    return tiny_model_dir


@pytest.fixture(scope="session")
def local(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the finished experiment."""
    config = settle(ExperimentConfig(**settings_of(tmp_path_factory.mktemp("local"), models, "local", run_all=True)))
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    for stage in select_stages(config):
        run_stage(stage, config, run_dir, "run")
    return run_dir.root
