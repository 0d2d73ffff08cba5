"""What a cluster cannot do is said in one line, before anything starts and within seconds."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir
from l2s.runner.cluster.connect import connected
from support.ray_nodes import NODE, ROOT, command, ray_cluster, run

MakeConfig = Callable[..., ExperimentConfig]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="`make test-cluster` has Ray")


def refusal(config: ExperimentConfig) -> str:
    with pytest.raises(UserError) as found, connected(config):
        pass
    return str(found.value)


def test_ray_that_is_not_installed_is_named(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: None)
    assert "executor='ray' needs ray, which is not installed" in refusal(tiny_config(executor="ray"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "Connection refused"),
        ("no-such-host.invalid:6379", "no Ray cluster answers there"),
        ("10.0.0.1", "an address is HOST:PORT"),
        ("ray://10.0.0.1:10001", "a Ray client cannot start a run"),
        ("auto", "no Ray cluster answers there"),
    ],
)
def test_an_address_without_a_cluster_is_refused(
    address: str, words: str, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/nowhere")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = refusal(tiny_config(executor="ray", address=address))
    assert words in said
    assert f"address={address!r}" in said


@needs_ray
def test_a_port_that_is_not_rays_is_refused_in_bounded_time(tiny_config: MakeConfig, silent_port: int) -> None:
    started = time.monotonic()
    said = refusal(tiny_config(executor="ray", address=f"127.0.0.1:{silent_port}"))
    assert "no Ray cluster answers there" in said
    assert time.monotonic() - started < 60  # not Ray's minutes


@pytest.fixture
def other_packages(tmp_path: Path) -> Path:
    """A folder with another l2s, and with what a package manager writes of another torch and of a vLLM."""
    folder = tmp_path / "packages"
    shutil.copytree(ROOT / "l2s", folder / "l2s")
    with (folder / "l2s" / "jsonl.py").open("a") as file:
        file.write("# another line\n")
    for name, version in (("torch", "1.2.3"), ("vllm", "4.5.6")):
        (folder / f"{name}-{version}.dist-info").mkdir()
        (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return folder


@needs_ray
@pytest.mark.timeout(600)
def test_nodes_that_differ_are_refused_with_a_list(models: Path, other_packages: Path, tmp_path: Path) -> None:
    with ray_cluster(1) as cluster:
        cluster.add_node(**NODE, env_vars={"PYTHONPATH": str(other_packages)})
        arguments = command(tmp_path, models, "x", run_all="true", executor="ray", address=cluster.address)
        said = run(arguments, 2, tmp_path)  # Ray lets nodes import from the folder of a run, which these nodes all see
    assert "executor='ray': versions differ between nodes" in said
    assert "l2s code " in said
    assert "1.2.3 (" in said
    assert "vllm none (this process" in said
    assert "4.5.6 (" in said
    assert "numpy" not in said
    assert not (tmp_path / "outputs" / "x" / "log.jsonl").exists()


def hub_cache(folder: Path, model: Path) -> Path:
    """A hub's cache that holds `model` as tiny/teacher."""
    own = folder / "hub" / "models--tiny--teacher"
    (own / "refs").mkdir(parents=True)
    (own / "refs" / "main").write_text("c0ffee")
    shutil.copytree(model, own / "snapshots" / "c0ffee")
    return folder


@needs_ray
@pytest.mark.timeout(600)
def test_a_node_that_lacks_a_model_says_so_before_anything_starts(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, empty = hub_cache(tmp_path / "whole", models / "teacher"), tmp_path / "empty"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(whole))
    with ray_cluster(1) as cluster:
        cluster.add_node(**NODE, env_vars={"HF_HOME": str(empty)})
        settings = {"run_all": "true", "executor": "ray", "address": cluster.address, "storage_path": "ray"}
        said = run(command(tmp_path, models, "x", **settings, teacher_model="tiny/teacher"), 2)
    assert "teacher_model='tiny/teacher': not on " in said
    assert "run `hf download tiny/teacher` there" in said
    assert "student_model" not in said
    assert " starts" not in said


@needs_ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cpu_workers": 2}, "cpu_workers=2: more than a node declares CPUs"),
        ({"device": "cuda"}, "device='cuda': no node of the Ray cluster declares a GPU"),
        ({"gpus": "0"}, "gpus='0': on a cluster Ray gives the GPUs out"),
        ({"storage_path": "nosuch://bucket"}, "storage_path='nosuch://bucket'"),
    ],
)
def test_what_the_nodes_do_not_have_is_refused(
    settings: dict[str, Any], words: str, small_cluster: Any, models: Path, tmp_path: Path
) -> None:
    on_ray = {"run_all": "true", "executor": "ray", "address": small_cluster.address}
    assert words in run(command(tmp_path, models, "x", **(on_ray | settings)), 2)


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[Any]:
    with ray_cluster(1) as cluster:
        yield cluster


HASTY = "import sys, l2s.runner.cluster.executor as e; e.START_S = 5; from l2s.cli import main; sys.exit(main())"


@needs_ray
@pytest.mark.timeout(600)
def test_gpus_that_another_program_has_are_waited_for_and_then_named(models: Path, tmp_path: Path) -> None:
    """Two nodes that declare a GPU each; once the other program has ended, the same command uses them."""
    import ray
    from ray.util.placement_group import placement_group

    with ray_cluster(2, num_gpus=1) as cluster:
        on_ray = {"run_generate": "true", "executor": "ray", "address": cluster.address, "storage_path": "ray"}
        arguments = command(tmp_path, models, "x", **on_ray, device="auto", engine="transformers")
        ray.init(cluster.address, logging_level="ERROR")
        try:
            ray.get(placement_group([{"GPU": 1}]).ready())
            said = run([sys.executable, "-c", HASTY, *arguments[3:]], 2)
        finally:
            ray.shutdown()
        printed = run(arguments)
    assert "not free after 5 s, so another program has them; `ray status` shows what is in use" in said
    assert Manifest.load(RunDir(tmp_path / "outputs" / "x").manifest("generate")) is not None
    line = next(line for line in printed.splitlines() if line.startswith("generate"))
    assert line.count("1 GPU of ") == 2
