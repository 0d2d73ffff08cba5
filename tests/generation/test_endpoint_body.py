"""What a request to an endpoint says, and what the answers say of it: the user's fields contradict nothing silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines.endpoint_body import body_of, check_body, recorded
from l2s.generation.engines.protocol import Request, Sampling

Make = Callable[..., ExperimentConfig]
ASKED = Request("a", [1], [{"role": "user", "content": "?"}])
DRAWN = Sampling(16, temperature=0.7, top_p=0.9, seed=3)


def configured(make: Make, **body: Any) -> ExperimentConfig:
    config = make(engine="endpoint", teacher_endpoint="http://localhost/v1", endpoint_body=json.dumps(body))
    check_body(config)
    return config


def sent(config: ExperimentConfig, sampling: Sampling = DRAWN) -> dict[str, Any]:
    return body_of(ASKED, sampling, "served", {"enable_thinking": False, "thinking": False}, config)


@pytest.mark.parametrize(
    ("field", "name"),
    [("temperature", "temperature"), ("top_p", "top_p"), ("seed", "seed"), ("max_tokens", "max_new_tokens")],
)
def test_null_leaves_a_field_out_and_the_answer_says_so(tiny_config: Make, field: str, name: str) -> None:
    plain, config = configured(tiny_config), configured(tiny_config, **{field: None})
    assert sent(config) == {key: value for key, value in sent(plain).items() if key != field}
    assert recorded(DRAWN, plain) == {"max_new_tokens": 16, "temperature": 0.7, "top_p": 0.9, "seed": 3}
    assert recorded(DRAWN, config) == recorded(DRAWN, plain) | {name: None}


def test_a_server_with_a_temperature_of_its_own_still_gets_the_seed(tiny_config: Make) -> None:
    greedy = Sampling(16)
    assert "seed" not in sent(configured(tiny_config), greedy)
    body = sent(configured(tiny_config, temperature=None), greedy)
    assert {"seed", "top_p"} < body.keys()
    assert "temperature" not in body


@pytest.mark.parametrize("further", [{}, {"max_tokens": None}])
def test_the_limit_goes_under_the_name_that_the_body_gives(tiny_config: Make, further: dict[str, None]) -> None:
    config = configured(tiny_config, max_completion_tokens=16, **further)
    assert sent(config)["max_completion_tokens"] == 16
    assert "max_tokens" not in sent(config)
    assert recorded(DRAWN, config)["max_new_tokens"] == 16


def test_arguments_of_the_template_are_added_to_those_of_thinking(tiny_config: Make) -> None:
    config = configured(tiny_config, chat_template_kwargs={"reasoning_effort": "low"})
    assert sent(config)["chat_template_kwargs"] == {
        "enable_thinking": False, "thinking": False, "reasoning_effort": "low",
    }  # fmt: skip
    assert "chat_template_kwargs" not in sent(configured(tiny_config, chat_template_kwargs=None))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": None}, "model is decided by --endpoint_model; leave it out"),
        ({"messages": []}, "messages is decided by the data"),
        ({"stream": True}, "stream is decided by l2s"),
        ({"temperature": 0.3}, "temperature is decided by --sampling_temperature; leave it out, or give null"),
        ({"top_p": 1}, "top_p is decided by --sampling_top_p"),
        ({"seed": 0}, "seed is decided by --seed"),
        ({"max_tokens": 9}, "max_tokens is decided by --max_new_tokens"),
        ({"max_completion_tokens": 512}, "max_new_tokens=16; give max_completion_tokens that number"),
    ],
)
def test_a_body_that_contradicts_the_settings_is_refused(tiny_config: Make, body: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^endpoint_body=.*{said}"):
        configured(tiny_config, **body)


def test_other_engines_record_their_sampling_whole(tiny_config: Make) -> None:
    config = tiny_config(endpoint_body='{"temperature": null}')
    assert recorded(DRAWN, config)["temperature"] == 0.7


def test_a_server_is_told_of_thinking_as_the_template_is(tiny_config: Make) -> None:
    renderer = load_renderer(tiny_config(thinking="on"), "student_model")
    body = body_of(ASKED, DRAWN, "served", renderer.template_arguments, configured(tiny_config))
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
