"""A whole experiment with its teacher behind an endpoint that fails in many ways: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines import endpoint_client
from l2s.jsonl import load_jsonl
from l2s.run_dir import RunDir
from l2s.runner.executors import run_stage
from l2s.runner.freshness import state_of
from l2s.runner.preflight import check_models, check_settings
from l2s.runner.selection import select_stages, settle
from l2s.secret_variables import ENDPOINT_KEY
from support.fake_endpoint import FakeServer, chat_completion

Make = Callable[..., ExperimentConfig]
Reply = tuple[int, dict[str, str], Any]
TROUBLES: list[Reply] = [
    (429, {"Retry-After": "0"}, {}), (500, {}, b"oops"), (503, {}, {}), (0, {}, {}), (200, {}, {"choices": []}),
    (200, {"Content-Length": "900"}, b'{"choices": [{"mess'), (200, {}, b""),
]  # fmt: skip
FILTERED = 2  # the number of the training prompt that the server's filter blocks


def experiment(make: Make, server: FakeServer, **fields: Any) -> tuple[ExperimentConfig, RunDir]:
    config = settle(
        make(
            **{
                "engine": "endpoint", "teacher_endpoint": server.url, "endpoint_model": "served", "run_all": True,
                "domains": "math", "math_source": "synthetic", "math_train_size": 8, "math_eval_size": 3,
                "endpoint_concurrency": 3, "endpoint_tries": 20, "max_new_tokens": 6, "dtype": "float32", **fields,
            }
        )
    )  # fmt: skip
    run_dir = RunDir.of(config)
    check_settings(config, select_stages(config))
    check_models(config, select_stages(config))
    run_dir.create()
    run_dir.save_config(config)
    return config, run_dir


def run(config: ExperimentConfig, run_dir: RunDir) -> None:
    """Run what is not done yet, as the same command would, with every stage in this process."""
    for stage in select_stages(config):
        state = state_of(stage, config, run_dir, requested=True, force=False)
        if state != "skip":
            run_stage(stage, config, run_dir, state)


def troubled(body: dict[str, Any], number: int) -> Reply:
    """Two of three requests fail, each in its way; the last message of a prompt tells which answer is its own."""
    if number % 3:
        return TROUBLES[number % len(TROUBLES)]
    asked = body["messages"][-1]["content"]
    return 200, {}, chat_completion(f"{asked[:30]} #### 7", tokens=5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT_KEY, raising=False)
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(endpoint_client, "LONGEST_WAIT_S", 0.01)


def test_sft_from_a_teacher_without_weights_reaches_the_report(tiny_config: Make, quick: None) -> None:
    with FakeServer.listening() as server:
        server.reply = troubled
        settings = {"arms": "sft", "teacher_model": "vendor/large", "endpoint_body": '{"temperature": null}'}
        config, run_dir = experiment(tiny_config, server, **settings)
        run(config, run_dir)
    items = load_jsonl(run_dir.train_data)
    rows = load_jsonl(run_dir.responses)
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    for row in [*rows, *load_jsonl(run_dir.predictions("teacher"))]:
        assert row["response"] == f"{row['messages'][-1]['content'][:30]} #### 7"
    results = json.loads(run_dir.results.read_text())
    assert set(results["evaluation"]) == {"teacher", "student_base", "student_sft"}
    assert results["fidelity"] == {}
    assert "through an endpoint" in run_dir.comparison_report.read_text()
    answered = [body["messages"][-1]["content"] for number, body in enumerate(server.asked, start=1) if number % 3 == 0]
    assert len(answered) == len(set(answered)) == len(items) + config.math_eval_size  # no answer was paid for twice
    assert {body["model"] for body in server.asked} == {"served"}
    assert not any("temperature" in body for body in server.asked)
    assert {row["sampling"]["temperature"] for row in rows} == {None}


def test_kd_scores_with_the_weights_what_the_endpoint_answered(tiny_config: Make, quick: None) -> None:
    with FakeServer.listening() as server:
        server.reply = troubled
        config, run_dir = experiment(tiny_config, server, arms="sft,kd")
        run(config, run_dir)
    results = json.loads(run_dir.results.read_text())
    assert set(results["evaluation"]) == {"teacher", "student_base", "student_sft", "student_kd"}
    assert results["fidelity"]["student_kd"]["mean_kl"] > 0
    engines = {name: stage["metrics"].get("engine", {}).get("name") for name, stage in results["stages"].items()}
    assert engines.pop("generate") == "endpoint"
    assert {engine for engine in engines.values() if engine} == {"transformers"}  # the comparison is of one engine


def test_a_server_that_goes_away_is_one_line_and_the_same_command_asks_for_the_rest(
    tiny_config: Make, quick: None
) -> None:
    with FakeServer.listening() as server:
        server.reply = lambda body, number: (503, {}, {}) if number > 5 else (200, {}, chat_completion("#### 7"))
        config, run_dir = experiment(tiny_config, server, arms="sft", teacher_model="vendor/large", endpoint_tries=2)
        with pytest.raises(UserError, match=r"no answer in 2 tries.*the same command resumes"):
            run(config, run_dir)
        first = [body["messages"][-1]["content"] for body in server.asked[:5]]
        server.asked.clear()
        server.reply = lambda body, number: (200, {}, chat_completion("#### 8"))
        run(config, run_dir)
    assert not set(first) & {body["messages"][-1]["content"] for body in server.asked}
    rows = load_jsonl(run_dir.responses)
    assert len({row["id"] for row in rows}) == len(rows) == 8
    assert sorted(row["response"] for row in rows) == ["#### 7"] * 5 + ["#### 8"] * 3


def test_a_server_is_not_asked_where_students_learn_references(tiny_config: Make, quick: None) -> None:
    """It goes away in the middle; the same command asks it for the rest, and only in the other domain."""
    with FakeServer.listening() as server:
        server.reply = lambda body, number: (503, {}, {}) if number > 3 else (200, {}, chat_completion("#### 7"))
        config, run_dir = experiment(
            tiny_config, server, arms="sft", teacher_model="vendor/large", endpoint_tries=2, max_length=8192,
            domains="math,aiops", answers="aiops=reference", aiops_train_size=4, aiops_eval_size=1,
        )  # fmt: skip
        with pytest.raises(UserError, match=r"no answer in 2 tries.*the same command resumes"):
            run(config, run_dir)
        server.reply = lambda body, number: (200, {}, chat_completion("#### 8"))
        run(config, run_dir)
    items, rows = load_jsonl(run_dir.train_data), load_jsonl(run_dir.responses)
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    asked = {body["messages"][-1]["content"] for body in server.asked}
    for item, row in zip(items, rows, strict=True):
        assert row["teacher"] == ("reference" if row["domain"] == "aiops" else "vendor/large")
        assert (item["messages"][-1]["content"] in asked) == (row["domain"] == "math")
    answers = [row["response"] for row in rows if row["domain"] == "math"]
    assert sorted(answers) == ["#### 7"] * 3 + ["#### 8"] * 5
    assert "reference" in run_dir.comparison_report.read_text()


def test_a_filtered_answer_is_counted_and_not_learned_from(tiny_config: Make, quick: None) -> None:
    with FakeServer.listening() as server:
        server.reply = lambda body, number: (
            (200, {}, chat_completion(None, "content_filter", tokens=0))
            if number == FILTERED
            else (200, {}, chat_completion("#### 7"))
        )
        config, run_dir = experiment(tiny_config, server, run_all=False, run_generate=True, endpoint_concurrency=1)
        run(config, run_dir)
    blocked = server.asked[FILTERED - 1]["messages"][-1]["content"]
    assert [row["messages"][-1]["content"] for row in load_jsonl(run_dir.rejected)] == [blocked]
    assert blocked not in {row["messages"][-1]["content"] for row in load_jsonl(run_dir.responses)}


def test_key_and_token_are_in_no_command_line_while_the_stage_asks(tiny_config: Make, tmp_path: Path) -> None:
    secrets = {"L2S_ENDPOINT_KEY": "sentinel-key-71", "HF_TOKEN": "sentinel-token-71"}
    flags = {"run_all": False, "run_prepare": True, "run_generate": True, "math_train_size": 2, "math_eval_size": 1}
    titles: dict[int, str] = {}
    with FakeServer.listening() as server:
        config, _ = experiment(tiny_config, server, **flags)
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        answer = server.reply

        def reply(body: dict[str, Any], number: int) -> Reply:
            parent = psutil.Process(started.pid)
            for process in (parent, *parent.children(recursive=True)):
                titles[process.pid] = " ".join([process.name(), *process.cmdline()])
            return answer(body, number)

        server.reply = reply
        command = [sys.executable, "-m", "l2s", "run", "--config", str(tmp_path / "settings.yaml")]
        with subprocess.Popen(
            command, env=os.environ | secrets, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as started:
            said = started.communicate()[0].decode()
    assert started.returncode == 0, said
    assert server.keys == ["Bearer sentinel-key-71"] * len(server.keys)
    assert any("generate" in title for title in titles.values())
    assert [title for title in [*titles.values(), said] if "sentinel" in title] == []
