"""What the driver asks of nodes before and while it runs stages, with stand-ins for Ray and its agents."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import fingerprint
from l2s.runner.cluster.checks import check_nodes
from l2s.runner.cluster.nodes import Cluster, Node, answering, get
from l2s.runner.pipeline import STAGES
from l2s.runner.placement import Devices
from l2s.runner.preflight import check_settings

Make = Callable[..., ExperimentConfig]


class RayError(Exception):
    """Ray's."""


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__("a long\ntraceback")
        self.cause = cause


class Calls:
    """An agent whose methods answer at once; an exception among the answers is raised where the answer is read."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        answer = self.answers[name]
        return SimpleNamespace(remote=lambda *args: answer(*args) if callable(answer) else answer)


@pytest.fixture(autouse=True)
def ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Ray on which a call is its own answer, and "late" is a call without one."""

    def read(reference: Any, timeout: float | None = None) -> Any:
        if isinstance(reference, Exception):
            raise reference
        return reference

    def wait(references: list[Any], num_returns: int = 1, timeout: float = 0) -> tuple[list[Any], list[Any]]:
        waited.append(timeout)
        return [one for one in references if one != "late"], [one for one in references if one == "late"]

    waited: list[float] = []
    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    made: Any = SimpleNamespace(
        get=read, wait=wait, exceptions=exceptions, nodes=lambda: made.known, known=[], waited=waited
    )
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


def cluster_of(*agents: Calls, shares: bool = False) -> Cluster:
    nodes = [Node(f"id{n}", f"10.0.0.{n}", 1, 0, agent=agent) for n, agent in enumerate(agents)]
    names = tuple(node.name for node in nodes)
    return Cluster("10.0.0.0:6379", "none", nodes, Devices("cpu", names, machines=names), shares_folder=shares)


def test_a_node_is_lost_when_ray_says_so_and_has_minutes_to_answer(ray: Any) -> None:
    cluster = cluster_of(Calls(ping="host"), Calls(ping=RayError("actor died")))
    assert cluster.find_lost()
    assert cluster.lost == {1}
    assert cluster.lost_devices() == {1}
    assert ray.waited == [300]
    assert not cluster.find_lost()


def test_a_death_that_ray_knows_of_is_seen_without_a_call(ray: Any) -> None:
    cluster = cluster_of(Calls(), Calls())
    ray.known = [{"NodeID": f"id{n}", "Alive": True} for n in range(2)]
    assert not cluster.knows_of_death()
    ray.known[1]["Alive"] = False
    assert cluster.knows_of_death()
    cluster.lost.add(1)
    assert not cluster.knows_of_death()


def test_a_full_disk_of_a_node_is_said_in_one_line() -> None:
    full = RayTaskError(OSError(errno.ENOSPC, "No space left on device", "/scratch/x/a.jsonl"))
    with pytest.raises(UserError, match=r"cannot write /scratch/x/a.jsonl \(No space left.*set --node_dir") as found:
        get(full)
    assert "\n" not in str(found.value)
    with pytest.raises(RayTaskError):
        get(RayTaskError(OSError(errno.ENOENT, "No such file", "a")))
    with pytest.raises(UserError, match=r"^in its own words$"):
        get(RayTaskError(UserError("in its own words")))


@pytest.mark.parametrize("error", [RayError("the actor\ndied"), RayTaskError(ValueError("the actor\ndied"))])
def test_a_node_that_goes_before_the_first_stage_ends_the_run_in_one_line(error: Exception) -> None:
    with (
        pytest.raises(UserError, match=r"address='10.0.0.0:6379': a node .* \(the actor died\)"),
        answering(cluster_of()),
    ):
        raise error
    with pytest.raises(UserError, match=r"^kept$"), answering(cluster_of()):
        raise UserError("kept")


def test_relative_models_are_asked_for_as_the_driver_finds_them(
    tiny_config: Make, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node's processes begin in another folder than the command."""
    monkeypatch.chdir(tiny_model_dir)
    asked: list[dict[str, str]] = []

    def versions(models: dict[str, str]) -> dict[str, str | None]:
        asked.append(models)
        return dict.fromkeys(models, "same")

    agent = Calls(model_versions=versions, why_unfit=lambda config, names: None, has_folder=lambda folder: False)
    config = tiny_config(teacher_model="teacher", student_model="org/name")
    check_nodes(cluster_of(agent), config, [], ["teacher_model", "student_model"])
    assert asked == [{"teacher_model": str(tiny_model_dir / "teacher"), "student_model": "org/name"}]
    with pytest.raises(UserError, match=rf"teacher_model='teacher': is relative to {tiny_model_dir}.*give an absolute"):
        check_nodes(cluster_of(agent, shares=True), config, [], ["teacher_model", "student_model"])
    lacking = Calls(model_versions=lambda models: dict.fromkeys(models), why_unfit=lambda config, names: None)
    with pytest.raises(UserError, match=rf"'teacher': not on 10.0.0.0; copy {tiny_model_dir}/teacher to the same path"):
        check_nodes(cluster_of(lacking), config, [], ["teacher_model"])
    with pytest.raises(UserError, match=r"'org/name': not on 10.0.0.0; run `hf download org/name` there"):
        check_nodes(cluster_of(lacking), config, [], ["student_model"])


def test_files_that_nothing_moves_must_be_on_every_node(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a run folder that all nodes see, they read the user's grader and context where the driver does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").write_text("context")
    config = tiny_config(teacher_context="file:notes")

    def check(found: str | None, *, has_folder: bool = True, shares: bool = True) -> None:
        agent = Calls(
            model_versions=lambda models: dict.fromkeys(models, "same"), why_unfit=lambda config, names: None,
            has_folder=lambda folder: has_folder, fingerprints=lambda paths: dict.fromkeys(paths, found),
        )  # fmt: skip
        check_nodes(cluster_of(agent, shares=shares), config, [STAGES["generate"]], [])

    check(fingerprint(tmp_path / "notes"))
    check(None, has_folder=False, shares=False)  # copies get it
    with pytest.raises(UserError, match=rf"^{tmp_path}/notes: not on 10.0.0.0; copy it to .*--storage_path ray"):
        check(None)
    with pytest.raises(UserError, match=r"notes: another file on 10.0.0.0; copy"):
        check("another")
    with pytest.raises(UserError, match=rf"'notes': is relative to {tmp_path}, which is not on 10.0.0.0; give an abs"):
        check(fingerprint(tmp_path / "notes"), has_folder=False)


def test_a_relative_folder_for_copies_is_refused(tiny_config: Make) -> None:
    with pytest.raises(UserError, match="node_dir='scratch': is another folder for each process; give an absolute"):
        check_settings(tiny_config(executor="ray", node_dir="scratch"), [])
