"""Numbers as people read them."""

from __future__ import annotations

import pytest

from l2s.evaluation import stats
from l2s.report.text import formats


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0004, "<0.001"),
        (0.001, "0.001"),
        (0.0494, "0.049"),
        (0.0496, "0.0496"),
        (0.0504, "0.0504"),
        (0.04998, "0.04998"),
        (0.05001, "0.05001"),
        (0.0499999, "<0.05"),
        (0.05, "≥0.05"),
        (0.0500001, "≥0.05"),
        (0.0506, "0.051"),
        (1.0, "1.000"),
    ],
)
def test_a_p_value_shows_on_which_side_of_the_level_it_is(value: float, written: str) -> None:
    assert formats.p_value(value) == written
    assert formats.LEVEL == stats.ALPHA


def test_numbers_of_one_column_have_the_same_digits() -> None:
    written = [formats.nats(value) for value in (0, 0.451, 1.6, 1.583, 404100.0, 1234.0)]
    assert written == ["0", "0.4510", "1.600", "1.583", "4.041e+05", "1234"]
