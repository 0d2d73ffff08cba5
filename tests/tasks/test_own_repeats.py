"""The user's rows that repeat each other, within a file or between the two, are reported before any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from l2s.config import ExperimentConfig
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say
from l2s.run_dir import RunDir
from l2s.tasks import prepare
from l2s.tasks.contamination import repeats
from l2s.tasks.own import TASK


def prepared(folder: Path, train: list[dict[str, object]], evaluation: list[dict[str, object]]) -> list[str]:
    """The warnings of the stage, in English."""
    for name, rows in (("train", train), ("eval", evaluation)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = ExperimentConfig(
        domains="own", train_file=folder / "train.jsonl", eval_file=folder / "eval.jsonl", own_grader="exact",
        output_dir=folder / "outputs", processed_dir=folder / "processed",
    )  # fmt: skip
    warnings = prepare.run(config, RunDir.of(config))["warnings"]
    assert all("{" not in say(warning, Text("zh")) for warning in warnings)
    return [say(warning, Text("en")) for warning in warnings]


def row(prompt: str, reference: str = "a", **more: object) -> dict[str, object]:
    return {"prompt": prompt, "reference": reference, **more}


def test_repeated_rows_are_counted_in_each_file_and_contradictions_named(tmp_path: Path) -> None:
    train = [row("Capital of Peru?", "Lima"), row("capital  of PERU?", "Lima"), row("Capital of Peru?", "Quito")]
    evaluation = [row("2 + 3?", "5"), row("2 - 3?", "-1"), row("2 + 3?", "5", id="again")]
    said = prepared(tmp_path, train, evaluation)
    assert said == [
        "own data: 2 of 3 training rows repeat the prompt of an earlier row (own-train-00001 = own-train-00000), so "
        "they count more than once",
        "own data: 1 of 3 rows repeats the prompt of another row with another reference "
        "(own-train-00002 = own-train-00000); a right answer to one is wrong for the other",
        "own data: 1 of 3 evaluation rows repeats the prompt of an earlier row (again = own-eval-00000), so it counts "
        "more than once, and intervals are too narrow",
    ]


def test_rows_of_both_files_are_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepared(tmp_path, [row("Capital of Peru?")], [row("Capital of Peru?"), row("Of Chile?")]) == []
    assert (
        "own: 1 of 2 evaluation items is in the training data (own-eval-00000 = own-train-00000)"
        in capsys.readouterr().out
    )


def test_other_turns_or_another_domain_are_no_repeat(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    last = {"role": "user", "content": "Again?"}
    rows = [row("Again?"), {"messages": [*turns, last], "reference": "a"}, row("Again?", domain="other")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = ExperimentConfig(train_file=tmp_path / "train.jsonl", own_grader="exact")
    assert repeats(TASK.train_items(config)) == {}
