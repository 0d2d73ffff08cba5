"""When stages start, and on which devices."""

from __future__ import annotations

import pytest

from l2s.config import ExperimentConfig
from l2s.plan.layout import device_numbers
from l2s.runner.selection import needs_of
from support.plans import laid_out


def test_more_devices_never_take_longer_and_the_whole_is_less_than_the_sum() -> None:
    walls = [laid_out(count).wall_seconds for count in (1, 2, 4, 8)]
    assert walls == sorted(walls, reverse=True)
    assert walls[3] < 0.5 * walls[0]
    alone, eight = laid_out(1), laid_out(8)
    assert alone.wall_seconds == pytest.approx(sum(row.estimate.seconds for row in alone.rows))
    assert eight.wall_seconds < sum(row.estimate.seconds for row in eight.rows)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_no_device_works_for_two_stages_and_needs_come_first(count: int) -> None:
    layout = laid_out(count)
    ends = {row.stage.name: row.end for row in layout.rows}
    config = ExperimentConfig(run_all=True, kd_init="sft")
    for row in layout.rows:
        assert all(ends[need] <= row.start for need in needs_of(row.stage, config) if need in ends)
        for other in layout.rows:
            if other is not row and other.start < row.end and row.start < other.end:
                assert not set(row.devices) & set(other.devices)


def test_the_critical_path_adds_up_to_the_wall_time() -> None:
    for count in (1, 8):
        layout = laid_out(count)
        path = layout.critical_path(ExperimentConfig(run_all=True, kd_init="sft"))
        assert sum(row.estimate.seconds for row in path) == pytest.approx(layout.wall_seconds)


def test_the_longer_preset_takes_longer() -> None:
    from l2s.presets import PRESETS

    fast, accurate = (laid_out(8, **PRESETS[name]).wall_seconds for name in ("fast", "accurate"))
    assert accurate > 1.2 * fast


def test_every_preset_and_source_has_a_plan() -> None:
    from typing import get_args

    from l2s.presets import PRESETS

    sources = get_args(ExperimentConfig.model_fields["math_source"].annotation)
    for fields in [*PRESETS.values(), *({"math_source": source} for source in sources)]:
        assert laid_out(1, **{**fields, "run_all": not fields.get("run_sft")}).wall_seconds > 0


@pytest.mark.parametrize(
    ("placement", "shown"),
    [
        ((), ""),
        ((3,), "3"),
        ((0, 1), "0,1"),
        (tuple(range(8)), "0-7"),
        ((0, 2), "0,2"),
        ((0, 1, 2, 6), "0-2,6"),
    ],
)
def test_devices_are_shown_as_runs(placement: tuple[int, ...], shown: str) -> None:
    assert device_numbers(placement) == shown
