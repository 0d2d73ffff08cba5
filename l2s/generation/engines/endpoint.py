"""Answers from a server that speaks OpenAI's chat completions: vLLM, SGLang, a vendor.

The server renders the messages itself and returns text, so answers carry no token ids, and there are no hidden states.
vLLM and SGLang hand `chat_template_kwargs` to the template; a server that refuses the field is spared it by
--endpoint_body '{"chat_template_kwargs": null}'.
The key comes from the environment and goes into one request header, nowhere else.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Self

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines.endpoint_client import Client
from l2s.generation.engines.protocol import Completion, ModelChoice, ModelCost, Request, Sampling, seed_of
from l2s.signals.hidden import HiddenStates
from l2s.tasks.types import FinishReason

FINISHED = ("stop", "eos", "end_turn", "stop_sequence")  # as servers call an answer that ended by itself


class EndpointEngine:
    """A model behind a URL; `endpoint_concurrency` requests are under way at a time."""

    def __init__(self, client: Client, model: str, config: ExperimentConfig) -> None:
        self.client, self.model, self.config = client, model, config

    @classmethod
    def open(cls, choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig) -> Self:
        """An engine for the server of `teacher_endpoint`.

        Raises:
            UserError: the URL or the key cannot be used.
        """
        return cls(Client.of(config), config.endpoint_model or choice.name, config)

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`: each request stands for itself, long prompts first."""
        return [[request] for request in sorted(requests, key=lambda request: (-len(request.prompt_ids), request.id))]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Answering`. The first failure that trying again does not mend ends it; answers under way are lost."""
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
            threading.Thread(target=work, daemon=True).start()  # a kill does not wait for answers under way
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
        reply = self.client.post("/chat/completions", self._body(request, sampling))
        try:
            choice = reply["choices"][0]
            text, finished = choice["message"]["content"] or "", choice["finish_reason"] in FINISHED
            tokens = int(reply["usage"]["completion_tokens"])
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"teacher_endpoint={self.config.teacher_endpoint!r}: its reply is no chat completion ({error!r} is "
                f"missing); the URL must be that of an OpenAI-compatible API, such as http://HOST:8000/v1"
            ) from error
        reason: FinishReason = "stop" if finished else "length"
        return Completion(request.id, text, reason, tokens, 0.0)

    def _body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        drawing: dict[str, Any] = {"temperature": sampling.temperature}
        if sampling.temperature > 0:
            drawing |= {"top_p": sampling.top_p, "seed": seed_of(sampling.seed, [request.id])}
        messages = [{"role": message["role"], "content": message["content"]} for message in request.messages]
        fixed = {"model": self.model, "messages": messages, "max_tokens": sampling.max_new_tokens, "stream": False}
        template = {"chat_template_kwargs": {"enable_thinking": self.config.thinking == "on"}}
        body = {**template, **json.loads(self.config.endpoint_body), **fixed, **drawing}
        return {name: value for name, value in body.items() if value is not None}

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
        """Nothing is known of a model behind a URL."""
        return ModelCost(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing stays open between requests."""


def _timed(answer: Completion, seconds: float) -> Completion:
    """The answer with the time since the one before it."""
    return Completion(answer.id, answer.text, answer.finish_reason, answer.num_tokens, seconds)
