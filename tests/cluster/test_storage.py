"""How files reach the nodes: in a folder that all see, through a shared folder, or through a bucket."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from l2s.run_dir import RunDir
from l2s.runner.cluster.connect import name_of
from support.ray_nodes import SAME, WAIT_S, assert_same, command, ray_cluster, run, start

pytest.importorskip("ray", reason="Ray is not installed; `make test-cluster` runs these tests")
pytestmark = pytest.mark.timeout(900)

# Files of 1 KiB and more go through the storage; the files of the tiny experiment are smaller than by default.
SMALL = "import sys, l2s.runner.cluster.connect as c; c.STORED_BYTES = 1024; from l2s.cli import main; sys.exit(main())"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server on this machine, whose address and keys are in the environment; "" without one."""
    if not (find_spec("moto") and find_spec("s3fs") and find_spec("flask")):
        yield ""
        return
    from fsspec.core import url_to_fs

    server = import_module("moto.server").ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
            patch.setenv(name, value)
        url_to_fs("s3://experiments")[0].mkdir("experiments")
        yield "s3://experiments/ours"
    server.stop()


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[Any]:
    with ray_cluster(2) as made:
        yield made


def test_nodes_that_see_the_run_folder_work_in_it(models: Path, cluster: Any, local: Path, tmp_path: Path) -> None:
    printed = run(command(tmp_path, models, "shared", run_all="true", executor="ray", address=cluster.address))
    root = tmp_path / "outputs" / "shared"
    assert "files move in the run folder, which all nodes see" in printed
    assert printed.count(f"1 CPU worker, in {root}\n") == 2
    assert_same(root, local)


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_large_files_go_through_a_storage(
    kind: str, models: Path, cluster: Any, bucket: str, local: Path, tmp_path: Path
) -> None:
    """The model that SFT gave is stored under its sha256 for the nodes of KD; at the end the storage is empty."""
    from fsspec.core import url_to_fs

    if kind == "s3" and not bucket:
        pytest.skip("moto[server] and s3fs are not installed")
    url = {"file": f"file://{tmp_path}/shared", "s3": bucket}[kind]
    settings = {"executor": "ray", "address": cluster.address, "storage_path": url}
    arguments = command(tmp_path, models, kind, run_sft="true", run_kd="true", **settings)
    process = start([sys.executable, "-c", SMALL, *arguments[3:]])
    name = name_of(RunDir(tmp_path / "outputs" / kind))
    files, place = url_to_fs(f"{url}/{name}.transfer")
    seen, deadline = set(), time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            seen |= {Path(name).name for name in files.ls(place, detail=False, refresh=True)}
        time.sleep(0.2)
    printed = process.communicate(timeout=10)[0]
    assert process.returncode == 0, printed
    assert f"files move by {url}/{name}.transfer" in printed
    root = tmp_path / "outputs" / kind
    assert hashlib.sha256((root / "sft" / "final_model" / "model.safetensors").read_bytes()).hexdigest() in seen
    files.invalidate_cache()
    assert not files.exists(place)
    assert_same(root, local, SAME[:1])


def test_a_bucket_that_is_not_there_is_refused(models: Path, cluster: Any, bucket: str, tmp_path: Path) -> None:
    if not bucket:
        pytest.skip("moto[server] and s3fs are not installed")
    settings = {"executor": "ray", "address": cluster.address, "storage_path": "s3://nobody/x"}
    said = run(command(tmp_path, models, "x", run_all="true", **settings), 2)
    assert "storage_path: s3://nobody/x/x-" in said
    assert ".transfer cannot be used" in said
