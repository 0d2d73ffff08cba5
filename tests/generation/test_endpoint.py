"""Answers from an OpenAI-compatible server: a fake one on loopback that can be busy, unavailable, or redirect."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.answers import answer_items
from l2s.generation.engines import endpoint_client
from l2s.generation.engines.endpoint import EndpointEngine
from l2s.generation.engines.endpoint_client import Pace, check_endpoint
from l2s.generation.engines.protocol import Completion, ModelChoice, Request, Sampling
from l2s.jsonl import load_jsonl
from l2s.secret_variables import ENDPOINT_KEY
from l2s.tasks.types import Item
from support.fake_endpoint import FakeServer, chat_completion

Make = Callable[..., ExperimentConfig]
KEY = "sk-not-to-be-seen"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.delenv(ENDPOINT_KEY, raising=False)
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.001)
    with FakeServer.listening() as fake:
        yield fake


@pytest.fixture
def renderer(tiny_model_dir: Path) -> ChatRenderer:
    return ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "teacher"))


@pytest.fixture
def engine(server: FakeServer, tiny_config: Make, renderer: ChatRenderer) -> Callable[..., EndpointEngine]:
    def make(**fields: Any) -> EndpointEngine:
        config = tiny_config(**{"engine": "endpoint", "teacher_endpoint": server.url, **fields})
        return EndpointEngine.open(ModelChoice.of_teacher(config), renderer, config)

    return make


def requests(count: int) -> list[Request]:
    return [Request(f"q{n}", [1], [{"role": "user", "content": f"question {n}"}]) for n in range(count)]


def answers_of(engine: EndpointEngine, count: int, **sampling: Any) -> dict[str, Completion]:
    batches = engine.generate(requests(count), Sampling(**{"max_new_tokens": 7, **sampling}))
    return {answer.id: answer for batch in batches for answer in batch}


def test_every_prompt_is_answered_once_with_the_text_as_sent(server: FakeServer, engine: Any) -> None:
    text = "  Käse \n\n</think> 1,234  "
    server.reply = lambda body, _: (200, {}, chat_completion(text, tokens=9))
    found = answers_of(engine(endpoint_concurrency=4), 10)
    assert sorted(found) == sorted(f"q{n}" for n in range(10))
    assert {(a.text, a.finish_reason, a.num_tokens, a.token_ids) for a in found.values()} == {(text, "stop", 9, None)}
    assert len(server.asked) == 10


def test_a_request_says_what_is_wanted_and_nothing_of_the_key(server: FakeServer, engine: Any) -> None:
    answers_of(engine(endpoint_model="served", endpoint_body='{"top_k": 5}'), 1, temperature=0.7, top_p=0.9, seed=1)
    (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert asked["model"] == "served"
    assert asked["messages"] == [{"role": "user", "content": "question 0"}]
    assert (asked["max_tokens"], asked["temperature"], asked["top_p"], asked["top_k"]) == (7, 0.7, 0.9, 5)
    assert isinstance(asked["seed"], int)
    assert asked["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert server.keys == [None]


def test_a_field_that_the_server_does_not_know_can_be_left_out(server: FakeServer, engine: Any) -> None:
    answers_of(engine(endpoint_body='{"chat_template_kwargs": null}', thinking="on"), 1)
    assert "chat_template_kwargs" not in server.asked[0]


def test_seeds_differ_between_prompts_and_not_between_runs(server: FakeServer, engine: Any) -> None:
    for _ in range(2):
        answers_of(engine(), 3, temperature=1.0)
    seeds = {body["messages"][0]["content"]: set[int]() for body in server.asked}
    for body in server.asked:
        seeds[body["messages"][0]["content"]].add(body["seed"])
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 3


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("stop", "stop"), ("eos", "stop"), ("length", "length"), ("content_filter", "length"), (None, "length")],
)
def test_an_answer_counts_as_finished_only_where_the_server_says_so(
    server: FakeServer, engine: Any, sent: str | None, meant: str
) -> None:
    server.reply = lambda body, _: (200, {}, chat_completion(None, sent))
    (answer,) = answers_of(engine(), 1).values()
    assert (answer.text, answer.finish_reason) == ("", meant)


def test_a_server_that_names_no_finish_reason_has_cut_the_answer(server: FakeServer, engine: Any) -> None:
    reply = chat_completion("x")
    del reply["choices"][0]["finish_reason"]
    server.reply = lambda body, _: (200, {}, reply)
    assert answers_of(engine(), 1)["q0"].finish_reason == "length"


def test_no_more_requests_at_a_time_than_allowed(server: FakeServer, engine: Any) -> None:
    def slow(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], Any]:
        time.sleep(0.03)
        return 200, {}, chat_completion("x")

    server.reply = slow
    answers_of(engine(endpoint_concurrency=3), 12)
    assert server.most_busy == 3


WHOLE = json.dumps(chat_completion("x")).encode()
TROUBLES: dict[str, tuple[int, dict[str, str], Any]] = {
    "rate limit": (429, {"Retry-After": "0"}, {"error": "slow down"}),
    "rate limit until a time": (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}),
    "rate limit in words": (429, {"Retry-After": "soon"}, {}),
    "internal error": (500, {}, b"<html>Internal Server Error</html>"),
    "bad gateway": (502, {}, b""),
    "unavailable": (503, {}, {}),
    "overloaded": (529, {}, {}),
    "a proxy that waited in vain": (524, {}, b"<html>A timeout occurred</html>"),
    "a status of nobody's": (599, {}, {}),
    "hangs up": (0, {}, {}),
    "cut in the middle": (200, {"Content-Length": str(len(WHOLE))}, WHOLE[:-20]),
    "cut, with the length to match": (200, {}, WHOLE[:-20]),
    "empty body": (200, {}, b""),
    "no UTF-8": (200, {}, b"\xff\xfe{}"),
    "rate limit until a year without end": (429, {"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, {}),
    "a refusal that is cut": (503, {"Transfer-Encoding": "chunked"}, b"5\r\nab"),
    "nested without end": (200, {}, b"[" * 100_000),
    "a list": (200, {}, [chat_completion("x")]),
    "null": (200, {}, None),
    "no choice": (200, {}, {"choices": [], "usage": {"completion_tokens": 0}}),
    "choices null": (200, {}, {"choices": None}),
    "an error with status 200": (200, {}, {"error": {"message": "upstream is overloaded", "code": 502}}),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_busy_or_broken_server_is_asked_again(server: FakeServer, engine: Any, name: str) -> None:
    server.reply = lambda body, number: TROUBLES[name] if number <= 3 else (200, {}, chat_completion("x"))
    found = answers_of(engine(endpoint_concurrency=1), 2)
    assert [(answer.text, answer.finish_reason) for answer in found.values()] == [("x", "stop")] * 2
    assert len(server.asked) == 5


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_that_stays_ends_the_run_with_a_way_on_and_the_item(server: FakeServer, engine: Any, name: str) -> None:
    server.reply = lambda body, _: TROUBLES[name]
    with pytest.raises(UserError, match=r"teacher_endpoint=.*no answer in 2 tries.*resumes.*asked for item 'q0'"):
        answers_of(engine(endpoint_tries=2), 1)


def test_a_pause_that_the_server_asks_for_is_kept_by_all_requests(
    server: FakeServer, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    monkeypatch.setattr(Pace, "hold", lambda self, seconds: held.append(seconds))
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    for said in ("7", later, "soon", "-3"):
        server.asked.clear()
        server.reply = lambda body, number, said=said: (  # type: ignore[misc]
            (429, {"Retry-After": said}, {}) if number == 1 else (200, {}, chat_completion("x"))
        )
        answers_of(engine(), 1)
    assert held[0] == 7
    assert 60 < held[1] <= 100
    assert held[2:] == [0, -3]


def test_a_server_that_is_too_slow_is_asked_again(server: FakeServer, engine: Any) -> None:
    waiting = threading.Event()

    def reply(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], Any]:
        if number == 1:
            waiting.wait(30)
        return 200, {}, chat_completion("x")

    server.reply = reply
    assert len(answers_of(engine(endpoint_timeout_s=0.2), 1)) == 1
    waiting.set()
    assert len(server.asked) >= 2


def test_a_server_that_never_answers_ends_the_run_with_a_way_on(server: FakeServer, engine: Any) -> None:
    server.reply = lambda body, _: (503, {}, {})
    with pytest.raises(UserError, match=r"teacher_endpoint=.*no answer in 2 tries.*status 503.*resumes"):
        answers_of(engine(endpoint_tries=2), 1)


def test_nobody_listens(engine: Any) -> None:
    with pytest.raises(UserError, match="no answer in 2 tries"):
        answers_of(engine(teacher_endpoint="http://127.0.0.1:9/v1", endpoint_tries=2), 1)


def test_a_refusal_is_not_repeated_and_quotes_the_server(server: FakeServer, engine: Any) -> None:
    server.reply = lambda body, _: (400, {}, {"error": "unknown field chat_template_kwargs"})
    with pytest.raises(UserError, match=r"status 400 and says .*chat_template_kwargs.*--endpoint_body"):
        answers_of(engine(endpoint_concurrency=1), 1)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        {"hello": "world"},
        {"choices": [{"text": "a completion"}], "usage": {"completion_tokens": 1}},
        {"choices": [{"message": {"content": ["x"]}}], "usage": {"completion_tokens": 1}},
        {"choices": ["x"], "usage": {"completion_tokens": 1}},
        {"choices": [{"message": {"content": "x"}}]},
        {"choices": [{"message": {"content": "x"}}], "usage": None},
        {"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": "many"}},
    ],
)
def test_a_reply_of_something_else_is_named(server: FakeServer, engine: Any, reply: Any) -> None:
    server.reply = lambda body, _: (200, {}, reply)
    with pytest.raises(UserError, match=r"no chat completion .*asked for item 'q0'"):
        answers_of(engine(endpoint_concurrency=1), 2)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "hint"), [(404, True), (422, True), (501, False), (505, False)])
def test_a_name_of_the_model_can_mend_a_wrong_request_alone(
    server: FakeServer, engine: Any, status: int, hint: bool
) -> None:
    server.reply = lambda body, _: (status, {}, {"error": "no"})
    with pytest.raises(UserError, match=f"status {status} and says .*no") as caught:
        answers_of(engine(), 1)
    assert ("--endpoint_model" in str(caught.value)) == hint
    assert len(server.asked) == 1


def test_an_answer_in_parts_is_their_text(server: FakeServer, engine: Any) -> None:
    parts: Any = [{"type": "text", "text": "It is "}, {"type": "text", "text": "18."}]
    server.reply = lambda body, _: (200, {}, chat_completion(parts))
    assert answers_of(engine(), 1)["q0"].text == "It is 18."


def test_a_refusal_whose_words_do_not_arrive_is_a_refusal(server: FakeServer, engine: Any) -> None:
    server.reply = lambda body, _: (404, {"Transfer-Encoding": "chunked"}, b"5\r\nab")
    with pytest.raises(UserError, match=r"status 404 and says ''.*--endpoint_model"):
        answers_of(engine(), 1)


@pytest.mark.parametrize("content", [["a"], [{"type": "image_url"}], [{"text": 7}], {"text": "a"}, 7])
def test_an_answer_that_is_no_text_is_named(server: FakeServer, engine: Any, content: Any) -> None:
    server.reply = lambda body, _: (200, {}, chat_completion(content))
    with pytest.raises(UserError, match=r"no chat completion .*the content is"):
        answers_of(engine(), 1)


@pytest.mark.parametrize("tokens", ["many", None, [3], float("inf"), -3])
def test_a_count_that_is_no_number_is_named(server: FakeServer, engine: Any, tokens: Any) -> None:
    server.reply = lambda body, _: (200, {}, chat_completion("a", tokens=tokens))
    with pytest.raises(UserError, match="no chat completion"):
        answers_of(engine(), 1)


def test_half_a_surrogate_pair_is_replaced(server: FakeServer, engine: Any, renderer: ChatRenderer) -> None:
    server.reply = lambda body, _: (200, {}, chat_completion("a \ud83d b \U0001f389"))
    (answer,) = answers_of(engine(), 1).values()
    assert answer.text == "a \ufffd b \U0001f389"
    assert renderer.answer_ids([{"role": "user", "content": "?"}], answer.text)


def test_the_key_travels_in_a_header_and_shows_nowhere(
    server: FakeServer, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    answers_of(engine(), 1)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in json.dumps(server.asked)
    for status in (400, 401, 503):
        server.reply = lambda body, _, status=status: (status, {}, {"error": f"bad key {KEY}"})  # type: ignore[misc]
        with pytest.raises(UserError) as caught:
            answers_of(engine(endpoint_tries=1), 1)
        assert KEY not in str(caught.value)
        assert caught.value.__cause__ is None


def test_prompts_and_key_follow_no_redirect(server: FakeServer, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    with FakeServer.listening() as other:
        for status in (301, 302, 307, 308):
            server.reply = lambda body, _, status=status: (status, {"Location": other.url}, {})  # type: ignore[misc]
            with pytest.raises(UserError, match=f"status {status}, a redirect"):
                answers_of(engine(), 1)
    assert other.asked == []


def test_requests_keep_a_distance() -> None:
    pace = Pace(0.02)
    begin = time.monotonic()
    for _ in range(4):
        pace.wait()
    assert time.monotonic() - begin >= 0.06


def test_answers_that_are_there_are_not_asked_for_again(
    server: FakeServer, engine: Any, renderer: ChatRenderer, tmp_path: Path
) -> None:
    items = [
        Item(id=f"m{n}", domain="math", source="t", messages=request.messages, reference="", meta={})  # type: ignore[typeddict-item]
        for n, request in enumerate(requests(8))
    ]
    log = tmp_path / "log.jsonl"

    def dies_at_the_fifth(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], Any]:
        return (400, {}, {}) if number == 5 else (200, {}, chat_completion("x"))

    server.reply = dies_at_the_fifth
    with pytest.raises(UserError):
        answer_items(items, engine(endpoint_concurrency=1), renderer, Sampling(4), log, label="t")
    assert len(load_jsonl(log)) == 4
    server.reply = lambda body, _: (200, {}, chat_completion("x"))
    answers = answer_items(items, engine(endpoint_concurrency=2), renderer, Sampling(4), log, label="t")
    assert sorted(answers) == sorted(row["id"] for row in load_jsonl(log)) == [f"m{n}" for n in range(8)]
    assert len(server.asked) == 5 + 4


def test_hidden_states_are_refused(engine: Any) -> None:
    with pytest.raises(UserError, match="no hidden states"):
        engine().hidden()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"teacher_endpoint": ""}, "teacher_endpoint=''"),
        ({"teacher_endpoint": "localhost:8000"}, "such as http"),
        ({"teacher_endpoint": "ftp://host/v1"}, "such as http"),
        ({"teacher_endpoint": "http://[::1/v1"}, "such as http"),
        ({"teacher_endpoint": f"http://me:{KEY}@[::1/v1"}, "teacher_endpoint: give the URL"),
        ({"teacher_endpoint": f"ftp://me:{KEY}@host/v1"}, "teacher_endpoint: give the URL"),
        ({"teacher_endpoint": "http://@localhost/v1"}, "no user name, password or query"),
        ({"teacher_endpoint": "unix:/run/server"}, "such as http"),
        ({"teacher_endpoint": "http://localhost /v1"}, "such as http"),
        ({"teacher_endpoint": "http://localhost\n/v1"}, "such as http"),
        ({"teacher_endpoint": "http://höst/v1"}, "such as http"),
        ({"teacher_endpoint": "http://.../v1"}, "such as http"),
        ({"teacher_endpoint": "http://localhost:0/v1"}, "such as http"),
        ({"teacher_endpoint": "http://localhost/v1/chat/completions/"}, "the part before /chat/completions"),
        ({"teacher_endpoint": f"https://me:{KEY}@host/v1"}, "no user name, password or query"),
        ({"teacher_endpoint": f"https://host/v1?key={KEY}"}, "no user name, password or query"),
        ({"teacher_endpoint": "http://host/v1"}, "would travel unencrypted"),
        ({"endpoint_body": "[1]"}, "give a JSON object"),
        ({"endpoint_body": "{"}, "give a JSON object"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused_without_a_secret(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], said: str
) -> None:
    monkeypatch.setenv(ENDPOINT_KEY, KEY)
    with pytest.raises(UserError, match=said) as caught:
        check_endpoint(tiny_config(**{"engine": "endpoint", "teacher_endpoint": "https://host/v1", **fields}))
    assert KEY not in str(caught.value)
