"""Replicas of a stage share its requests, and leave the files that one process would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.devices import REPLICA
from l2s.evaluation import evaluate
from l2s.generation import generate
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir, replica_logs
from l2s.tasks.types import Item

Make = Callable[..., ExperimentConfig]


def write_items(path: Path, count: int = 9) -> None:
    items = [
        Item(id=f"m{n}", domain="math", source="test", reference=str(n), meta={},
             messages=[{"role": "user", "content": "What is " + " + ".join(["1"] * (n + 1)) + "?"}])
        for n in range(count)
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, items)


def settings(**fields: Any) -> dict[str, Any]:
    return {"generation_batch_size": 2, "eval_batch_size": 2, "max_new_tokens": 6, **fields}


def test_replicas_answer_as_one_process_does(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    three, one = (tiny_config(experiment_name=name, **settings(sampling_temperature=1.0)) for name in ("three", "one"))
    for config in (three, one):
        write_items(RunDir.of(config).train_data)
    asked: list[int] = []
    for number in (2, 1, 0):
        monkeypatch.setenv(REPLICA, f"{number}/3")
        generate.run(three, RunDir.of(three))
        logs = [RunDir.of(three).answer_log / "try-1.jsonl"]
        logs += sorted(replica_logs(logs[0]).glob("*.jsonl"))
        asked.append(sum(len(load_jsonl(log)) for log in logs if log.exists()))
    assert asked == [2, 5, 9]  # five batches, longest prompts first: the third, the second and fifth, the others
    monkeypatch.delenv(REPLICA)
    generate.run(one, RunDir.of(one))
    found, expected = (load_jsonl(RunDir.of(config).responses) for config in (three, one))
    assert found == expected


def test_what_replicas_left_is_resumed_by_another_number_of_them(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(**settings())
    run_dir = RunDir.of(config)
    write_items(run_dir.eval_data)
    monkeypatch.setenv(REPLICA, "1/2")
    assert evaluate.run(config, run_dir, model="teacher") == {}
    log = replica_logs(run_dir.prediction_log("teacher")) / "1.jsonl"
    left = log.read_bytes()
    log.write_bytes(left + b'{"id": "m0", "te')  # killed while it wrote
    monkeypatch.delenv(REPLICA)
    evaluate.run(config, run_dir, model="teacher")
    assert "4 of 9" in capsys.readouterr().out
    assert [row["id"] for row in load_jsonl(run_dir.predictions("teacher"))] == [f"m{n}" for n in range(9)]
    assert len(load_jsonl(run_dir.prediction_log("teacher"))) == 5


def test_replicas_agree_on_what_is_asked_again(tiny_config: Make) -> None:
    """Side by side, as the launcher starts them: the second tries of both need the grades of all first tries."""
    two, one = (
        tiny_config(experiment_name=name, **settings(keep_correct=True, max_tries=2, sampling_temperature=1.0))
        for name in ("two", "one")
    )
    program = (
        "import sys; from l2s.generation import collect, generate; from l2s.run_dir import RunDir\n"
        "from l2s.tasks.types import Grade\n"
        "def grade(asked, config):\n"  # random answers are never right
        "    return [Grade(float(len(text) % 2), 'x') for _, text, _ in asked]\n"
        "collect.grade_all = grade\n"
        "run_dir = RunDir(__import__('pathlib').Path(sys.argv[1]))\n"
        "generate.run(run_dir.load_config(), run_dir)\n"
    )
    runs = [(two, "0/2"), (two, "1/2"), (one, "0/1")]
    for config in (two, one):
        write_items(RunDir.of(config).train_data)
        RunDir.of(config).save_config(config)
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(RunDir.of(config).root)],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", REPLICA: replica},
        )
        for config, replica in runs
    ]
    assert [process.wait(timeout=200) for process in processes] == [0, 0, 0]
    for name in ("responses", "rejected"):
        found, expected = (load_jsonl(getattr(RunDir.of(config), name)) for config in (two, one))
        assert found == expected
    assert (RunDir.of(one).answer_log / "try-2.jsonl").exists()
