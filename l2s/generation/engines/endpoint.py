"""Answers from a server that speaks OpenAI's chat completions API: vLLM, SGLang, or a vendor's service.

The server renders the messages and returns text. So answers carry no token ids, and there are no hidden states. vLLM
and SGLang pass `chat_template_kwargs` to the template. For a server that rejects this field, --endpoint_body
'{"chat_template_kwargs": null}' leaves it out. The key is read from the environment and sent in one request header; it
is stored nowhere.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines.endpoint_body import body_of
from l2s.generation.engines.endpoint_client import CHAT, SAID, BusyError, Client
from l2s.generation.engines.protocol import Completion, ModelChoice, ModelCost, Request, Sampling, independent
from l2s.signals.hidden import HiddenStates
from l2s.tasks.types import FinishReason

FINISHED = ("stop", "eos", "end_turn", "stop_sequence")  # finish reasons that mean the answer was not cut
THOUGHTS = ("reasoning_content", "reasoning")  # fields of a message in which servers send the thinking


class EndpointEngine:
    """A model behind a URL; up to `endpoint_concurrency` requests run at a time."""

    def __init__(self, client: Client, model: str, renderer: ChatRenderer, config: ExperimentConfig) -> None:
        self.client, self.model, self.renderer, self.config = client, model, renderer, config

    @classmethod
    def open(cls, choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig) -> Self:
        """An engine for the server of `teacher_endpoint`.

        Raises:
            UserError: the URL or the key cannot be used.
        """
        return cls(Client.of(config), config.endpoint_model or choice.name, renderer, config)

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`."""
        return independent(requests)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Answering`. The first failure that retries do not fix ends it; answers in progress are lost."""
        left = [request for request in requests if request.id not in done]
        tasks: queue.SimpleQueue[Request] = queue.SimpleQueue()
        for request in left:
            tasks.put(request)
        results: queue.SimpleQueue[Completion | Exception] = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            try:
                while not stopped.is_set():
                    results.put(self._answer(tasks.get_nowait(), sampling))
            except queue.Empty:
                return
            except Exception as error:
                results.put(error)

        for _ in range(min(self.config.endpoint_concurrency, len(left))):
            threading.Thread(target=work, daemon=True).start()  # a kill does not wait for answers in progress
        begin = time.monotonic()
        try:
            for _ in left:
                result = results.get()
                if isinstance(result, Exception):
                    raise result
                now = time.monotonic()
                yield [_timed(result, now - begin)]
                begin = now
        finally:
            stopped.set()

    def _answer(self, request: Request, sampling: Sampling) -> Completion:
        try:
            body = body_of(request, sampling, self.model, self.renderer.template_arguments, self.config)
            text, reason, tokens = self.client.post(CHAT, body, self._read)
        except UserError as error:
            raise UserError(f"{error} (asked for item {request.id!r})") from error.__cause__
        return Completion(request.id, text, reason, tokens, 0.0)

    def _read(self, reply: dict[str, Any]) -> tuple[str, FinishReason, int]:
        """Text, finish reason and number of tokens of a reply. An answer is whole only where the server says so."""
        if not reply.get("choices") and ("choices" in reply or "error" in reply):
            raise BusyError(f"a reply without an answer: {json.dumps(reply, ensure_ascii=False)[:SAID]}")
        try:
            choice = reply["choices"][0]
            message, finished = choice["message"], choice.get("finish_reason") in FINISHED
            text = self._with_thought(message, finished=finished)
            tokens = int(reply["usage"]["completion_tokens"])
            if tokens < 0:
                raise ValueError(f"{tokens} tokens")
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"teacher_endpoint={self.config.teacher_endpoint!r}: its reply is no chat completion ({error!r}); "
                f"the URL must be that of an OpenAI-compatible API, such as http://HOST:8000/v1, whose replies hold "
                "choices[0].message.content and usage.completion_tokens"
            ) from error
        return text, "stop" if finished else "length", tokens

    def _with_thought(self, message: Mapping[str, Any], *, finished: bool) -> str:
        """The text of an answer, after the thinking that some servers send apart from it.

        Thinking that was cut before the text began stays open.
        """
        text, (opening, closing) = _text(message["content"]), self.renderer.thinking_tags
        thought = next((said for name in THOUGHTS if isinstance(said := message.get(name), str) and said.strip()), "")
        if not thought or not self.renderer.thinking or opening in text or closing in text:
            return text
        opened = (self.renderer.opening or f"{opening}\n") + _text(thought).strip("\n")
        ended = finished or text.strip()
        return f"{opened}\n{closing}\n\n" + text.lstrip("\n") if ended else opened

    def hidden(self) -> HiddenStates:
        """A server gives no hidden states.

        Raises:
            UserError: always.
        """
        raise UserError(
            "engine='endpoint': a server gives answers and no hidden states; scoring and fidelity need the teacher's "
            "weights"
        )

    def cost(self) -> ModelCost:
        """None: nothing is known about a model behind a URL."""
        return ModelCost(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: no connection stays open between requests."""


def _text(content: object) -> str:
    """The text of an answer; half a surrogate pair, which JSON can name and no tokenizer takes, as U+FFFD.

    Some servers send a list of parts, `{"type": "text", "text": ...}`.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        content = "".join(_text(part["text"]) for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError(f"the content is {type(content).__name__}")
    return re.sub("[\ud800-\udfff]", "\ufffd", content or "")


def _timed(answer: Completion, seconds: float) -> Completion:
    """The answer, with the seconds since the previous one."""
    return Completion(answer.id, answer.text, answer.finish_reason, answer.num_tokens, seconds)
