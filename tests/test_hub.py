"""A hub that does not answer is reported once, with the ways out; one that answers keeps its clients' timeouts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import constants

from l2s import hub
from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.models.load import load_model
from l2s.runner import check
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models
from l2s.tasks import code, math

REFUSED = "http://127.0.0.1:9"  # the discard port: nobody listens there
asked: list[str] = []


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The hub's clients as outside of tests, with an empty cache; changes by `trouble` are undone."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv(hub.FOUND_BY_PARENT, raising=False)
    hub.trouble.cache_clear()
    asked.clear()
    yield
    os.environ.pop(hub.FOUND_BY_PARENT, None)
    hub.trouble.cache_clear()


@pytest.fixture
def serve(online: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Start a server that answers every request with `status`, after `delay_s`, and make it the hub."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, *, delay_s: float = 0.0) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                asked.append(self.path)
                time.sleep(delay_s)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD

            def log_message(self, format: str, *args: Any) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{servers[-1].server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        return endpoint

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_hub_that_answers_is_asked_once_and_left_to_its_clients(serve: Callable[..., str]) -> None:
    serve(404)  # a mirror need not have a front page
    assert [hub.trouble(), hub.trouble()] == [None, None]
    assert asked == ["/"]
    assert not constants.is_offline_mode()


def test_a_gateway_without_a_hub_behind_it_is_no_hub(serve: Callable[..., str]) -> None:
    endpoint = serve(503)
    assert hub.trouble() == f"{endpoint} answers with status 503"
    assert constants.is_offline_mode()


def test_a_hub_that_does_not_answer_in_time_is_given_up(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = serve(200, delay_s=3)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    assert hub.trouble() == f"{endpoint} did not answer within 1 s; HF_HUB_ETAG_TIMEOUT sets another limit"


def test_the_processes_of_the_stages_know_why_they_are_offline(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", REFUSED)
    found = hub.trouble()
    assert found is not None
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    hub.trouble.cache_clear()  # as in a child, which inherits the environment
    assert hub.trouble() == found


def test_offline_mode_of_the_users_own_is_named(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in str(hub.trouble())


@pytest.mark.parametrize(
    ("look_up", "words"),
    [
        (lambda config: load_renderer(config, "student_model"), ("student_model='org/student'", "a local folder")),
        (lambda config: load_model("org/teacher", config), ("teacher_model='org/teacher'", "a local folder")),
        (lambda config: check_models(config, [STAGES["sft"]]), ("student_model='org/student'", "a local folder")),
        (lambda config: check_models(config, [STAGES["generate"]]), ("teacher_model='org/teacher'", "a local folder")),
        (math.eval_items, ("math_source='gsm8k'", "openai/gsm8k", "--data_dir")),
        (code.train_items, ("code_train_source='mbpp'", "google-research-datasets/mbpp", "--data_dir")),
    ],
)
def test_every_source_fails_fast_and_says_what_to_do(
    look_up: Callable[[ExperimentConfig], object],
    words: tuple[str, ...],
    online: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", REFUSED)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"a client waits {seconds} s to try again"))
    config = ExperimentConfig(teacher_model="org/teacher", student_model="org/student")
    with pytest.raises(UserError) as caught:
        look_up(config)
    message = str(caught.value)
    assert [word for word in (*words, REFUSED, "cannot be reached", "HF_ENDPOINT") if word not in message] == []
    assert "\n" not in message


def test_a_model_that_the_hub_refuses_is_not_taken_for_a_missing_network(serve: Callable[..., str]) -> None:
    serve(401)
    message = hub.explain(
        "org/student", OSError("There was an error when trying to load org/student:\n\n401 Client Error")
    )
    assert "There was an error when trying to load org/student: 401 Client Error" in message
    assert "HF_TOKEN" in message


def test_the_check_of_the_data_names_every_source_that_fails(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", REFUSED)
    with pytest.raises(UserError) as caught:
        check.check_data(ExperimentConfig())
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["math_source='gsm8k'", "code_train_source='mbpp'"]


@pytest.mark.parametrize(
    "endpoint", ["http://me:s3cret@127.0.0.1:9", "http://s3cret@127.0.0.1:9/a@b", "http://a:s3c@ret@[::1"]
)
def test_the_password_of_a_mirror_is_shown_nowhere(
    online: None, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """HF_ENDPOINT of a private mirror may hold one; what is found goes into errors, logs and the environment."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    found = str(hub.trouble())
    said = hub.explain("org/student", OSError(f"401 for url '{endpoint}/api/models/org/student'"))
    for text in (found, os.environ[hub.FOUND_BY_PARENT], said, hub.first_line(OSError(f"at {endpoint}"))):
        assert "s3c" not in text
    assert "cannot be reached" in found
    assert hub.without_password("mail a@b or x://host/p@q") == "mail a@b or x://host/p@q"
