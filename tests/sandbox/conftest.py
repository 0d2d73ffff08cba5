"""Each sandbox backend in turn; a backend that this machine lacks is skipped with its reason."""

from __future__ import annotations

from typing import get_args

import pytest

from l2s import sandbox
from l2s.errors import UserError
from l2s.sandbox.backends import Name


@pytest.fixture(scope="module", params=get_args(Name))
def confined(request: pytest.FixtureRequest) -> sandbox.Backend:
    try:
        return sandbox.probe(request.param)
    except UserError as error:
        pytest.skip(str(error))
