"""What a stage's nodes are sent and what is taken over from them, without Ray: copies, settings, the last files."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import RunDir
from l2s.runner.cluster import agent as agents
from l2s.runner.cluster.agent import Agent
from l2s.runner.cluster.connect import name_of
from l2s.runner.cluster.executor import RayJob
from l2s.runner.cluster.files import NodeSettings, StageFiles
from l2s.runner.cluster.transfer import Hashes
from l2s.runner.pipeline import STAGES, all_stages
from l2s.tasks.own.user_code import parse_spec

Make = Callable[..., ExperimentConfig]
NODE = "0123456789ab"


def test_an_agent_that_finds_a_copy_in_use_leaves_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "LOCK_WAIT_S", 0)
    first, second = (Agent("n", NODE, str(tmp_path), "run") for _ in range(2))
    root = Path(first.open(None, None)[0])
    (root / "answers.jsonl").write_text("{}")
    with pytest.raises(UserError, match=f"processes of an earlier run still work in {root}"):
        second.open(None, None)
    second.close()
    assert (root / "answers.jsonl").exists()
    assert first.lock_file.exists()
    first.close()
    assert not root.exists()


def test_experiments_of_one_name_have_names_of_their_own_on_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, yours = (RunDir(tmp_path / user / "default") for user in ("me", "you"))
    assert name_of(mine).startswith("default-")
    assert name_of(mine) != name_of(yours)
    monkeypatch.chdir(tmp_path)
    assert name_of(RunDir(Path("me/default"))) == name_of(mine)  # the same command finds what a killed run left


@pytest.mark.parametrize(
    "named",
    [
        {"own_grader": "python:g.py:grade"},
        {"own_grader": "python:./a/../g.py:grade"},
        {"own_grader": "python:~/g.py:grade", "teacher_context": "file:notes"},
        {"own_grader": "python:{}/g.py:grade", "teacher_context": "file:own"},  # the name of a domain, and of a setting
        {"own_grader": "python:g.py:grade", "teacher_context": "math=file:{}/g.py.txt,own=file:./notes"},
        {"teacher_context": "math=fewshot:2,own=file:a, b"},
    ],
    ids=str,
)
@pytest.mark.parametrize("base", ["nodes", "it's: a #folder"])
def test_a_node_reads_the_files_that_the_settings_name_in_its_copy(
    base: str, named: dict[str, str], tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of the user's is sent, and is named by its place there; no other setting changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").mkdir()
    for name in ("g.py", "g.py.txt", "notes", "own", "a, b"):
        (tmp_path / name).write_text(f"def grade(): {name}")
    given = {field: value.format(tmp_path) for field, value in named.items()}
    config = tiny_config(domains="math,own", train_file="t", eval_file="e", output_dir=tmp_path / "out", **given)
    run_dir = RunDir.of(config)
    settings = NodeSettings(config, run_dir, all_stages(config))
    agent = Agent("n", NODE, str(tmp_path / base), "run")
    agent.open(None, None)
    agent.expect("generate", settings.values, {}, [])
    there = RunDir(agent.root).load_config()

    def files(read: ExperimentConfig) -> list[Path]:
        spec = parse_spec(read.own_grader)
        kinds = [read.teacher_context_in(domain).partition(":") for domain in ("math", "own")]
        return [*([spec.file] if spec else []), *(Path(name) for kind, _, name in kinds if kind == "file")]

    assert files(there)
    for ours, theirs in zip(files(config), files(there), strict=True):
        place = str(theirs.relative_to(agent.root))
        assert settings.files[place].read_text() == ours.read_text()
    same = config.model_dump(exclude={"own_grader", "teacher_context", "teacher_model", "student_model"})
    assert there.model_dump(include=set(same)) == same


def files_of(stage: str, config: ExperimentConfig) -> StageFiles:
    cluster: Any = SimpleNamespace(storage=None, shares_folder=False)
    return StageFiles(STAGES[stage], config, RunDir.of(config), cluster, [], hashes=Hashes(), logs=[])


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.resources.spread != "none"])
def test_all_that_a_stage_writes_comes_back(stage: str, tiny_config: Make) -> None:
    config = tiny_config()
    run_dir, found = RunDir.of(config), STAGES[stage]
    written = [path for paths in (found.gives, found.logs, found.scratch) for path in paths(run_dir, config)]
    assert set(files_of(stage, config).own) == {str(path.relative_to(run_dir.root)) for path in written}


def job_of(**parts: Any) -> Any:
    return SimpleNamespace(stopping="", **parts)


@pytest.mark.parametrize(
    ("code", "stopping", "looks"), [(0, "", 3), (1, "", 3), (130, "asked", 3), (130, "at once", 0)]
)
def test_what_was_written_last_is_taken_over_to_its_end(code: int, stopping: str, looks: int) -> None:
    """A log moves a part at a time, and a process may have added several before it ended."""
    left, seen = [True, True, False], list[bool]()

    def pull() -> bool:
        seen.append(left.pop(0))
        return seen[-1]

    job, files, launched = job_of(), SimpleNamespace(pull=pull), SimpleNamespace(poll=lambda: [code, 0])
    job.stopping = stopping
    assert RayJob._wait(job, files, launched) == code  # type: ignore[arg-type]
    assert len(seen) == looks


def test_a_failure_that_nobody_expects_ends_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a status the run would wait for ever."""

    def broken(status: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(threading, "excepthook", lambda given: None)
    job = job_of(_try=lambda: 0, _end_of=broken, status=None)
    job.thread = threading.Thread(target=RayJob._run, args=(job,))
    job.thread.start()
    job.thread.join()
    assert RayJob.poll(job) == 1


def test_what_is_large_is_not_sent_to_its_end_after_a_signal(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    files = files_of("generate", tiny_config())
    files.stopped = lambda: True
    (tmp_path / "model").write_bytes(b"weights")
    with pytest.raises(InterruptedError):
        files._push(tmp_path / "model", "model", [])
