"""Thinking behind an endpoint: servers leave it in the text, send it apart, or return the final text alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.chat import ChatRenderer, load_renderer
from l2s.config import ExperimentConfig
from l2s.generation.answers import answer_items
from l2s.generation.engines.endpoint import EndpointEngine
from l2s.generation.engines.protocol import Completion, ModelChoice, Sampling
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.types import Item
from support.fake_endpoint import FakeServer, chat_completion

Make = Callable[..., ExperimentConfig]
SAID = "9 + 9 = 18.\n#### 18"


@pytest.fixture
def ask(tiny_config: Make, tmp_path: Path) -> Callable[..., Completion]:
    """The answer to one item, which a server gives in `message`. The local template ends with `opens`."""

    def answer(
        message: dict[str, Any], reason: str = "stop", *, opens: str = "", names: str = "", thinking: str = "on"
    ) -> Completion:
        with FakeServer.listening() as server:
            reply = chat_completion(None, reason)
            reply["choices"][0]["message"] |= message
            server.reply = lambda body, _: (200, {}, reply)
            config = tiny_config(engine="endpoint", teacher_endpoint=server.url, thinking=thinking, arms="sft")
            renderer = renderer_of(config, opens, names)
            engine = EndpointEngine.open(ModelChoice.of_teacher(config), renderer, config)
            asked: Any = [{"role": "user", "content": "9 + 9?"}]
            item = Item(id="a", domain="math", source="test", messages=asked, reference="18", meta={})
            log = tmp_path / str(len(list(tmp_path.iterdir()))) / "log.jsonl"
            return answer_items([item], engine, renderer, Sampling(9), log, label="t")["a"]

    return answer


def renderer_of(config: ExperimentConfig, opens: str, names: str) -> ChatRenderer:
    renderer = load_renderer(config, "student_model")
    template: Any = renderer.tokenizer.chat_template
    renderer.tokenizer.chat_template = f"{template}{{# {names} #}}{{{{ {opens!r} }}}}"
    assert renderer.opening == opens
    return renderer


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        (SAID, "stop", SAID),  # its reasoning parser has taken the thinking away
        (f"18?</think>{SAID}", "stop", f"<think>\n18?</think>{SAID}"),
        (f"<think>18?</think>{SAID}", "stop", f"<think>18?</think>{SAID}"),
        ("18? Let me", "length", "<think>\n18? Let me"),
    ],
)
def test_a_tag_that_the_template_opens_is_added_only_to_text_that_begins_with_thinking(
    ask: Callable[..., Completion], text: str, reason: str, expected: str
) -> None:
    assert ask({"content": text}, reason, opens="<think>\n").text == expected


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("opens", ["", "<think>\n"])
@pytest.mark.parametrize("newlines", ["", "\n"])
def test_thinking_that_is_sent_apart_is_a_block_before_the_text(
    ask: Callable[..., Completion], field: str, opens: str, newlines: str
) -> None:
    message = {"content": f"{newlines}    return 18", field: f"{newlines}18?{newlines}"}
    assert ask(message, opens=opens).text == "<think>\n18?\n</think>\n\n    return 18"


def test_the_block_has_the_tags_of_the_template(ask: Callable[..., Completion]) -> None:
    message = {"content": SAID, "reasoning": "18?"}
    for given in ({"opens": "[THINK]"}, {"names": "[THINK]"}):
        text = ask(message, **given).text
        assert text.startswith("[THINK]")
        assert str(without_thinking(text)).strip() == SAID


@pytest.mark.parametrize("opens", ["", "<think>\n"])
@pytest.mark.parametrize("content", ["", None])
def test_thinking_that_is_cut_stays_open(ask: Callable[..., Completion], opens: str, content: str | None) -> None:
    answer = ask({"content": content, "reasoning": "18? Let me"}, "length", opens=opens)
    assert (answer.text, without_thinking(answer.text)) == ("<think>\n18? Let me", None)


def test_a_cut_text_after_whole_thinking_is_outside_of_it(ask: Callable[..., Completion]) -> None:
    answer = ask({"content": "9 + 9", "reasoning": "18?"}, "length", opens="<think>\n")
    assert str(without_thinking(answer.text)).strip() == "9 + 9"


def test_no_block_where_thinking_is_off_or_in_the_text_already(ask: Callable[..., Completion]) -> None:
    assert ask({"content": SAID, "reasoning": "18?"}, thinking="off").text == SAID
    whole = f"<think>18?</think>{SAID}"
    for thought in ("18?", None, "", {"text": "18?"}):
        assert ask({"content": whole, "reasoning": thought}).text == whole
