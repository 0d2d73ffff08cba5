"""A short form of `make faults`: a tiny full experiment that was killed and interrupted equals an uninterrupted one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.compare import broken_promises, leftovers
from faults.experiment import Experiment
from faults.kill import KILLS, REQUESTS, Tally, batter
from faults.moments import Moments, spread
from faults.rounds import SIGNALS, Bench

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("faults")) as bench:
        yield bench


def test_a_run_that_is_killed_and_asked_to_end_gives_what_an_unbroken_one_gives(bench: Bench, tmp_path: Path) -> None:
    unbroken, _ = bench.unbroken(SIGNALS["hidden"])
    experiment = Experiment(tmp_path / "run", SIGNALS["hidden"]).create()
    tallies: dict[str, Tally] = {blow.name: Tally() for blow in (*KILLS, *REQUESTS)}
    blows = [*KILLS, *REQUESTS]

    chance = random.Random(1)
    moments = Moments(spread(len(blows), unbroken), unbroken, chance)
    dealt = batter(experiment, unbroken, bench.forked, blows, 0.2, chance, tallies, until=moments.wait)

    assert [line for tally in tallies.values() for line in tally.lost] == []
    assert dealt >= 3
    assert len({stage for tally in tallies.values() for stage in tally.stages} - {"start"}) >= 3
    assert broken_promises(experiment.run_dir) == []


def test_the_comparison_finds_what_is_lost_doubled_or_half_written(tmp_path: Path) -> None:
    run_dir = Experiment(tmp_path).run_dir
    run_dir.root.mkdir(parents=True)
    run_dir.log_file.write_text('{"id": 1}\n{"id": 1}\n')
    run_dir.responses.parent.mkdir()
    run_dir.responses.write_text('{"id": 1}\n{"i')
    assert leftovers(run_dir) == [
        "log.jsonl: a row is there twice",
        "sft/sft_train_data.jsonl: the last line is unfinished",
    ]
