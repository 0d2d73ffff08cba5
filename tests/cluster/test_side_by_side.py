"""Two drivers on one cluster, a node that joins late, and a key for an endpoint: who sees what."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2s.run_dir import RunDir
from l2s.secret_variables import ENDPOINT_KEY
from support.fake_endpoint import FakeServer
from support.ray_nodes import NODE, WAIT_S, command, ray_cluster, run, start, wait_until

pytest.importorskip("ray", reason="Ray is not installed; `make test-cluster` runs these tests")
pytestmark = pytest.mark.timeout(1800)

KEY = "sk-not-to-be-seen-anywhere"
# Answers of 1 KiB and more go through the storage.
SMALL = "import sys, l2s.runner.cluster.connect as c; c.STORED_BYTES = 1024; from l2s.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(1) as made:
        yield made


def test_two_drivers_with_one_name_do_not_meet(models: Path, cluster: Any, local: Path, tmp_path: Path) -> None:
    """They wait for each other's devices; what one removes at its end is its own. A node that joins helps the next."""
    settings = {"executor": "ray", "address": cluster.address, "storage_path": f"file://{tmp_path}/shared"}
    folders = [tmp_path / "one", tmp_path / "two"]
    arguments = [command(folder, models, "same", run_generate="true", **settings) for folder in folders]
    processes = [start([sys.executable, "-c", SMALL, *given[3:]]) for given in arguments]
    wait_until((RunDir(folders[0] / "outputs" / "same").root / "logs").exists, processes[0])
    refused = run(arguments[0], 2)
    cluster.add_node(**NODE)
    printed = [process.communicate(timeout=WAIT_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert "another run is working in" in refused
    answers = [(folder / "outputs" / "same" / "sft" / "sft_train_data.jsonl").read_bytes() for folder in folders]
    assert set(answers) == {(local / "sft" / "sft_train_data.jsonl").read_bytes()}
    assert not any((tmp_path / "shared").iterdir())
    later = run(command(folders[0], models, "same", run_score="true", **settings))
    assert "2 nodes, 2 CPU workers" in later


def test_a_key_is_in_no_file_of_ray_and_of_the_run(
    models: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    with FakeServer.listening() as server:
        settings = {"executor": "ray", "address": cluster.address, "storage_path": "ray", "engine": "endpoint"}
        flags = settings | {"teacher_endpoint": server.url, "run_generate": "true", "run_score": "true"}
        printed = run(command(tmp_path, models, "asked", **flags))
        assert set(server.keys) == {f"Bearer {KEY}"}
    session = Path(cluster.head_node.get_session_dir_path())
    read = [path for folder in (session, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("raylet") for path in read)
    assert not [path for path in read if KEY.encode() in path.read_bytes()]
    assert KEY not in printed
