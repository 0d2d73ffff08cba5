"""The endpoint engine with a real vLLM server, which is killed and restarted while it answers.

The module below is what `vllm serve` runs; that command also asks for the version of a package that the CPU build
lacks.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.answers import answer_items
from l2s.generation.engines import endpoint_client
from l2s.generation.engines.endpoint import EndpointEngine
from l2s.generation.engines.protocol import ModelChoice, Sampling
from l2s.jsonl import load_jsonl
from l2s.tasks.types import Item

Make = Callable[..., ExperimentConfig]
ITEMS = 40
START_SECONDS = 1200


class Server:
    """vLLM's OpenAI-compatible server of one model on a port of loopback."""

    def __init__(self, model: str, log: Path) -> None:
        self.model, self.log = model, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = [
            "--model",
            self.model,
            "--served-model-name",
            "teacher",
            "--host",
            "127.0.0.1",
            "--dtype",
            "float32",
        ]
        limits = ["--port", str(self.port), "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "4"]
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments, *limits],
                env=os.environ | settings, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2)
            except OSError:
                time.sleep(0.3)
            else:
                return
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self) -> None:
        """Kill it with all its processes, without giving them time to clean up."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(dense: str, tmp_path: Path) -> Iterator[Server]:
    running = Server(dense, tmp_path / "server.log")
    running.start()
    running.wait()
    yield running
    running.kill()


@pytest.mark.timeout(3600)  # on busy cores; minutes on idle ones
def test_a_server_that_is_killed_while_it_answers_loses_and_doubles_nothing(
    server: Server, dense: str, vllm_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_client, "LONGEST_WAIT_S", 3.0)
    url = f"http://127.0.0.1:{server.port}/v1"
    config = vllm_config(
        dense, engine="endpoint", teacher_endpoint=url, endpoint_model="teacher", endpoint_concurrency=4,
        endpoint_tries=100,
    )  # fmt: skip
    items = [item(f"question {number}") for number in range(ITEMS)]
    renderer = load_renderer(config, "teacher_model")
    engine = EndpointEngine.open(ModelChoice.of_teacher(config), renderer, config)
    log = tmp_path / "answers.jsonl"
    answering = threading.Thread(
        target=answer_items, args=(items, engine, renderer, Sampling(400), log), kwargs={"label": "test"}
    )
    answering.start()
    while not log.exists() or log.read_bytes().count(b"\n") < 5:
        assert answering.is_alive()
        time.sleep(0.01)
    server.kill()
    before = len(load_jsonl(log))
    server.start()
    server.wait()
    answering.join(timeout=1800)
    assert not answering.is_alive()
    assert 5 <= before < ITEMS
    rows = load_jsonl(log)
    assert sorted(row["id"] for row in rows) == sorted(asked["id"] for asked in items)
    assert all(row["text"] and row["num_tokens"] for row in rows)


def item(text: str) -> Item:
    return Item(id=text, domain="math", source="", messages=[{"role": "user", "content": text}], reference="", meta={})
