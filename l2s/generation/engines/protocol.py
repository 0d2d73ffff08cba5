"""What every engine can do, so that stages do not know which one works."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from l2s.config import ExperimentConfig, Quantization
from l2s.signals.hidden import HiddenStates
from l2s.tasks.types import FinishReason, Message


@dataclass(frozen=True)
class Request:
    """A prompt to answer, as token ids; an engine that has no tokenizer of ours sends the messages themselves."""

    id: str
    prompt_ids: list[int]
    messages: Sequence[Message] = ()


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
        seconds: this answer's share of the engine's time.
        token_ids: the tokens that the model wrote, the closing one among them where it finished. Students learn these;
            None where an engine only knows the text.
    """

    id: str
    text: str
    finish_reason: FinishReason
    num_tokens: int
    seconds: float
    token_ids: list[int] | None = None


class Answering(Protocol):
    """Anything that answers prompts."""

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """`requests` in the groups whose answers depend on each other; replicas share them out whole."""
        ...

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """Yield completions as they finish, those of a moment together, leaving out the ids in `done`.

        What is yielded for a request must not depend on `done` by more than the rounding of another batch, so that a
        run that is resumed after a kill gives the answers of an unbroken one.
        """
        ...


@dataclass(frozen=True)
class ModelChoice:
    """A model for an engine to load: hub name or folder, how it is quantised, and over how many GPUs it is split."""

    name: str
    quantization: Quantization = "none"
    gpus: int | None = None  # None: the fewest that hold it
    batch_size: int = 16  # of an engine with static batches

    @classmethod
    def of_teacher(cls, config: ExperimentConfig, *, batch_size: int = 16) -> Self:
        """The teacher as `config` describes it."""
        return cls(config.teacher_model, config.teacher_quantization, config.teacher_gpus or None, batch_size)


@dataclass(frozen=True)
class ModelCost:
    """What a model costs here. None: the engine cannot tell."""

    parameters: int | None
    weight_bytes: int | None
    peak_memory_bytes: int | None


class Engine(Answering, Protocol):
    """One model that answers prompts and gives its hidden states; closed when the `with` block ends."""

    def hidden(self) -> HiddenStates:
        """The hidden states of its model.

        Raises:
            UserError: the engine generates answers only.
        """
        ...

    def cost(self) -> ModelCost:
        """Size and memory of its model so far."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Metered:
    """An engine whose speed is measured: over all tries, without the answers that an earlier process left."""

    def __init__(self, engine: Answering) -> None:
        self.engine = engine
        self.tokens, self.seconds = 0, 0.0

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`."""
        return self.engine.batches(requests, sampling)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Answering`."""
        for finished in self.engine.generate(requests, sampling, done=done):
            self.tokens += sum(answer.num_tokens for answer in finished)
            self.seconds += sum(answer.seconds for answer in finished)
            yield finished

    @property
    def tokens_per_second(self) -> float | None:
        """None where every answer was there already."""
        return self.tokens / self.seconds if self.seconds else None


def cut_at_stop(tokens: Sequence[int], stop_ids: Collection[int]) -> tuple[list[int], FinishReason]:
    """The tokens up to the first that ends an answer, that one included; `length` where there is none."""
    for position, token in enumerate(tokens):
        if token in stop_ids:
            return list(tokens[: position + 1]), "stop"
    return list(tokens), "length"


def seed_of(seed: int, ids: Iterable[str]) -> int:
    """A seed of 32 bits for the request, or the batch of requests, with these ids."""
    text = f"{seed}:" + ",".join(ids)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
