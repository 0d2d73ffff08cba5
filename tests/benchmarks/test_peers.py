"""The comparison with a peer: the same job on both sides, and what its table says. No model is run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import compare, figures, job, ways
from l2s.config import ExperimentConfig

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"


def arguments(monkeypatch: pytest.MonkeyPatch, *flags: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["compare.py", *flags])
    return compare.parse()


def test_the_script_gets_every_setting_that_it_reads_and_the_same_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = arguments(monkeypatch, "--preset", "smollm", "--train", "40", "--lr", "1e-5")
    found.dtype = "float32"
    config: ExperimentConfig = job.experiment(found, tmp_path)
    told = ways.job_of(config, {"train": tmp_path / "a", "eval": tmp_path / "b"}, tmp_path)
    read = set(re.findall(r"JOB\['(\w+)'\]|JOB\[\"(\w+)\"\]", (FOLDER / "with_trl.py").read_text()))
    assert {one or other for one, other in read} == told.keys()
    assert (config.math_train_size, config.kd_lr, told["learning_rate"]) == (40, 1e-5, 1e-5)
    assert (config.temperature, config.alpha, config.divergence) == (1.0, 0.0, "forward_kl")  # the peer's KD loss
    update = config.sft_batch_size * config.gradient_accumulation_steps
    assert update == told["batch_size"] * told["gradient_accumulation_steps"]
    assert told["epochs"] == config.sft_epochs == config.kd_epochs


def test_a_pair_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        arguments(monkeypatch, "--train", "40")


def test_ratios_are_those_of_each_round() -> None:
    def measured(seconds: float, peak: int) -> Any:
        steps = dict.fromkeys(job.STEPS, seconds)
        peaks = dict.fromkeys((*job.STEPS, "score"), peak)
        return job.Measured(4 * seconds, steps, peaks, {}, {})

    rounds = {
        "l2s": [measured(1.0, 2**30), measured(10.0, 2**30), measured(3.0, 2**30)],
        "trl": [measured(2.0, 2**31), measured(40.0, 2**31), measured(4.0, 2**31)],
    }
    rows = {row["figure"]: row for row in figures.table(rounds)}
    assert rows["whole job"]["median"] == {"l2s": 12.0, "trl": 16.0}
    assert rows["whole job"]["ratio"] == {"trl": 0.5}  # of 0.5, 0.25 and 0.75
    assert rows["kd, peak memory"]["median"] == {"l2s": 1.0, "trl": 2.0}


def test_a_peer_that_is_not_installed_is_left_out_of_all_and_missed_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ways.PACKAGES, "distill-anything", "no_such_package")
    monkeypatch.setitem(ways.PACKAGES, "trl", "json")
    assert compare.chosen_peers("all") == ["trl"]
    assert "distill-anything is not installed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not installed"):
        compare.chosen_peers("distill-anything")
    with pytest.raises(SystemExit, match="nobody is no peer; there are trl, distill-anything"):
        compare.chosen_peers("trl, nobody")


def test_lines_of_code_are_lines_that_hold_code(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    lines = ['"""Doc."""', "", "import os", "", "def f(a,", "      b):", '    """Doc."""', "    # why", "    return os"]
    file.write_text("\n".join([*lines, "", "f(", "    1, 2", ")", ""]))
    assert figures.code_lines(file) == 7


@pytest.mark.parametrize(
    ("name", "peer", "units"),
    [("smollm", "trl", {"s", "GiB"}), ("qwen", "trl", {"GiB"}), ("distill-anything", "distill-anything", {"s", "GiB"})],
)
def test_the_results_page_shows_the_kept_comparison(name: str, peer: str, units: set[str]) -> None:
    kept = json.loads((FOLDER / f"{name}.json").read_text())
    page = (FOLDER.parents[1] / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    rows = [row for row in kept["table"] if row["unit"] in units]
    assert rows
    for row in rows:
        cells = [f"{row['median'][way]:.2f}" for way in ("l2s", peer)] + [f"{row['ratio'][peer]:.2f}"]
        assert f"| {row['figure']}, {row['unit']} | {' | '.join(cells)} |" in page
