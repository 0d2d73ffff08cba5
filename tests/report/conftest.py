"""One made-up run with its reports, shared by tests that only read it."""

from __future__ import annotations

import pytest

from l2s.report import stage
from l2s.run_dir import RunDir
from support.synthetic_run import make_run


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """All five models on 350 items; code is trained on the problems it is evaluated on, math is synthetic."""
    parent = tmp_path_factory.mktemp("reported")
    config, run_dir = make_run(parent, code_train_source="humaneval", math_source="synthetic", response_words=300)
    stage.run(config, run_dir)
    return run_dir
