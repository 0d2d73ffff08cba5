"""Engines turn prompts into answers. All speak one protocol, so that stages do not know which one works."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from transformers import GenerationConfig, PreTrainedModel

from l2s.chat import ChatRenderer
from l2s.tasks.types import FinishReason


@dataclass(frozen=True)
class Request:
    """A prompt to answer, as token ids."""

    id: str
    prompt_ids: list[int]


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn. temperature 0 is greedy; `seed` makes sampled answers repeatable."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """A finished answer.

    Attributes:
        text: the answer as the renderer decodes it: what graders read.
        num_tokens: tokens written, the closing one among them.
        seconds: this answer's share of its batch's time.
        token_ids: the tokens that the model wrote, the closing one among them where it finished. Students learn these;
            None where an engine only knows the text.
    """

    id: str
    text: str
    finish_reason: FinishReason
    num_tokens: int
    seconds: float
    token_ids: list[int] | None = None


class Engine(Protocol):
    """Anything that answers prompts."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """Yield completions as they finish, those of a moment together, leaving out the ids in `done`.

        What is yielded for a request must not depend on `done`, so that a run that goes on after a kill gives the
        same answers as an unbroken one.
        """
        ...


class TransformersEngine:
    """Static batches through `transformers` generate: left padding, batches sorted by length, longest first."""

    def __init__(self, model: PreTrainedModel, renderer: ChatRenderer, *, batch_size: int) -> None:
        self.model = model
        self.renderer = renderer
        self.batch_size = batch_size
        self.stop_ids = stop_ids(model, renderer)
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # what it does not set, a model's own file would

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Engine`. Batches are cut from all requests, done or not: an answer may depend on its batch's padding."""
        ordered = sorted(requests, key=lambda request: (-len(request.prompt_ids), request.id))
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            if any(request.id not in done for request in batch):
                yield [answer for answer in self._answer(batch, sampling) if answer.id not in done]

    @torch.inference_mode()
    def _answer(self, batch: Sequence[Request], sampling: Sampling) -> list[Completion]:
        begin = time.monotonic()
        width = max(len(request.prompt_ids) for request in batch)
        pad = self.renderer.pad_token_id
        input_ids_BT = torch.tensor([[pad] * (width - len(r.prompt_ids)) + r.prompt_ids for r in batch])
        mask_BT = torch.tensor([[0] * (width - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in batch])
        torch.manual_seed(_batch_seed(sampling.seed, batch))
        output_BT = cast(Any, self.model).generate(
            input_ids=input_ids_BT.to(self.model.device),
            attention_mask=mask_BT.to(self.model.device),
            generation_config=self._generation_config(sampling),
        )
        answers = [self._cut_at_stop(row) for row in output_BT[:, width:].tolist()]
        total = sum(len(tokens) for tokens, _ in answers)
        speed = total / (time.monotonic() - begin)
        return [
            Completion(request.id, self.renderer.decode(tokens), reason, len(tokens), len(tokens) / speed, tokens)
            for request, (tokens, reason) in zip(batch, answers, strict=True)
        ]

    def _cut_at_stop(self, tokens: list[int]) -> tuple[list[int], FinishReason]:
        for position, token in enumerate(tokens):
            if token in self.stop_ids:
                return tokens[: position + 1], "stop"
        return tokens, "length"

    def _generation_config(self, sampling: Sampling) -> GenerationConfig:
        drawing: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            drawing = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(  # type: ignore[no-untyped-call]
            **drawing,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self.stop_ids),
            pad_token_id=self.renderer.pad_token_id,
        )


class Metered:
    """An engine whose speed is measured: over all tries, without the answers that an earlier process left."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tokens, self.seconds = 0, 0.0

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Engine`."""
        for finished in self.engine.generate(requests, sampling, done=done):
            self.tokens += sum(answer.num_tokens for answer in finished)
            self.seconds += sum(answer.seconds for answer in finished)
            yield finished

    @property
    def tokens_per_second(self) -> float | None:
        """None where every answer was there already."""
        return self.tokens / self.seconds if self.seconds else None


def stop_ids(model: PreTrainedModel, renderer: ChatRenderer) -> frozenset[int]:
    """The template's end of turn and every EOS that the model declares (Qwen has two)."""
    declared = model.generation_config.eos_token_id if model.generation_config is not None else None
    own = declared if isinstance(declared, list) else [declared] if declared is not None else []
    return frozenset({renderer.eos_token_id, *own})


def _batch_seed(seed: int, batch: Sequence[Request]) -> int:
    text = f"{seed}:" + ",".join(request.id for request in batch)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
