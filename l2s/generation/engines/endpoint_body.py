"""The JSON of a request to an endpoint: what this run's settings say, and the user's own fields in `endpoint_body`.

A field that a server refuses is left out with null, such as --endpoint_body '{"temperature": null}'. For a server that
wants the limit as `max_completion_tokens`, '{"max_completion_tokens": N}' names it so; N is max_new_tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown
from l2s.generation.engines.protocol import Request, Sampling, seed_of
from l2s.jsonl import refuse_constant

# Fields that say what is asked, with what decides them: without them there is no answer to this prompt.
ALWAYS = {"model": "--endpoint_model", "messages": "the data", "stream": "l2s, which reads whole replies"}
# Fields that say how it is answered, with the setting, which an answer's `sampling` records under the second name.
SAMPLING = {
    "max_tokens": ("--max_new_tokens", "max_new_tokens"),
    "temperature": ("--sampling_temperature", "temperature"),
    "top_p": ("--sampling_top_p", "top_p"),
    "seed": ("--seed", "seed"),
}
OTHER_LIMIT = "max_completion_tokens"


def check_body(config: ExperimentConfig) -> None:
    """Refuse an `endpoint_body` that is no JSON object, or contradicts what this run sends and records.

    Raises:
        UserError: names the field of the body and what decides it.
    """
    field = f"endpoint_body={shown(config.endpoint_body)}"
    try:
        body = json.loads(config.endpoint_body, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UserError(f"{field}: give a JSON object, such as '{{\"top_k\": 20}}'")
    for name, decides in ALWAYS.items():
        if name in body:
            raise UserError(f"{field}: {name} is decided by {decides}; leave it out")
    for name, (flag, _) in SAMPLING.items():
        if body.get(name) is not None:
            raise UserError(f"{field}: {name} is decided by {flag}; leave it out, or give null to send none")
    if body.get(OTHER_LIMIT) not in (None, config.max_new_tokens):
        raise UserError(
            f"{field}: the limit of an answer is max_new_tokens={config.max_new_tokens}; give "
            f"{OTHER_LIMIT} that number, or set --max_new_tokens"
        )


def body_of(
    request: Request, sampling: Sampling, model: str, template_arguments: Mapping[str, Any], config: ExperimentConfig
) -> dict[str, Any]:
    """What is sent for a prompt."""
    given = json.loads(config.endpoint_body)
    body: dict[str, Any] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    if sampling.temperature > 0 or leaves_out("temperature", config):  # the server's own temperature is not known
        body |= {"top_p": sampling.top_p, "seed": seed_of(sampling.seed, [request.id])}
    body |= {"chat_template_kwargs": dict(template_arguments)} | given
    if isinstance(given.get("chat_template_kwargs"), dict):
        body["chat_template_kwargs"] = {**template_arguments, **given["chat_template_kwargs"]}
    if given.get(OTHER_LIMIT) is not None:
        body |= {OTHER_LIMIT: sampling.max_new_tokens, "max_tokens": None}
    messages = [{"role": message["role"], "content": message["content"]} for message in request.messages]
    body |= {"model": model, "messages": messages, "stream": False}
    return {name: value for name, value in body.items() if value is not None}


def recorded(sampling: Sampling, config: ExperimentConfig) -> dict[str, Any]:
    """How an answer was sampled; None for what `endpoint_body` leaves to the server."""
    if config.engine != "endpoint":
        return asdict(sampling)
    return asdict(sampling) | {name: None for field, (_, name) in SAMPLING.items() if leaves_out(field, config)}


def leaves_out(field: str, config: ExperimentConfig) -> bool:
    """Whether `endpoint_body` leaves a field of SAMPLING to the server."""
    given = json.loads(config.endpoint_body)
    renamed = field == "max_tokens" and given.get(OTHER_LIMIT) is not None
    return field in given and given[field] is None and not renamed
