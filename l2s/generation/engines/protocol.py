"""What every engine can do, so that stages need not know which engine runs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from l2s.config import ExperimentConfig, Quantization
from l2s.signals.hidden import HiddenStates
from l2s.tasks.types import FinishReason, Message


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to answer, as token ids. An engine without our tokenizer sends the messages instead.

    `batches` may get requests with the right number of tokens and no more.
    """

    id: str
    prompt_ids: Sequence[int]
    messages: Sequence[Message] = ()


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled. Temperature 0 is greedy; `seed` makes sampled answers repeatable."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """A finished answer.

    Attributes:
        text: the answer as the renderer decodes it, which graders read.
        num_tokens: number of generated tokens, including the end token.
        seconds: this answer's share of the engine's time.
        token_ids: the tokens that the model generated, including the end token of a finished answer. Students learn
            these. None where an engine returns text only.
        batch_size: the most prompts that were answered together at that time. None where an engine has no such limit.
    """

    id: str
    text: str
    finish_reason: FinishReason
    num_tokens: int
    seconds: float
    token_ids: list[int] | None = None
    batch_size: int | None = None


class Answering(Protocol):
    """Anything that answers prompts."""

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """`requests` in groups whose answers depend on each other; a replica gets whole groups."""
        ...

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """Yield completions as they finish, grouped by the moment they finish; ids in `done` are left out.

        A completion must not depend on `done` by more than the rounding of another batch. Then a resumed run gives the
        answers of an uninterrupted one.
        """
        ...


@dataclass(frozen=True)
class ModelChoice:
    """A model for an engine to load.

    Attributes:
        name: hub name or folder.
        gpus: number of GPUs that it is split over; None: the smallest number that holds it.
        batch_size: prompts in a batch, for engines with static batches.
        part_sizes: by request id, the prompts at a time where a model that this one is compared with took fewer than
            `batch_size`, because memory ran out.
    """

    name: str
    quantization: Quantization = "none"
    gpus: int | None = None
    batch_size: int = 16
    part_sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_teacher(
        cls, config: ExperimentConfig, *, batch_size: int = 16, part_sizes: Mapping[str, int] | None = None
    ) -> Self:
        """The teacher that `config` describes."""
        gpus, kind = config.teacher_gpus or None, config.teacher_quantization
        return cls(config.teacher_model, kind, gpus, batch_size, part_sizes or {})


@dataclass(frozen=True)
class ModelCost:
    """What a model costs on this machine. None: the engine cannot tell."""

    parameters: int | None
    weight_bytes: int | None
    peak_memory_bytes: int | None


class Engine(Answering, Protocol):
    """One model that answers prompts and gives its hidden states; the end of the `with` block closes it."""

    def hidden(self) -> HiddenStates:
        """The hidden states of the engine's model.

        Raises:
            UserError: the engine only generates answers.
        """
        ...

    def cost(self) -> ModelCost:
        """Size of the model, and its peak memory so far."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Metered:
    """An engine whose speed is measured, over all tries, without the answers of an earlier process."""

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
        """Generated tokens per second; None where every answer already existed."""
        return self.tokens / self.seconds if self.seconds else None


def independent(requests: Sequence[Request]) -> list[list[Request]]:
    """A group for each request, long prompts first: for engines that batch by themselves."""
    return [[request] for request in sorted(requests, key=lambda request: (-len(request.prompt_ids), request.id))]


def cut_at_stop(tokens: Sequence[int], stop_ids: Collection[int]) -> tuple[list[int], FinishReason]:
    """The tokens up to and including the first end token, and the finish reason; `length` if there is no end token."""
    for position, token in enumerate(tokens):
        if token in stop_ids:
            return list(tokens[: position + 1]), "stop"
    return list(tokens), "length"


def seed_of(seed: int, ids: Iterable[str]) -> int:
    """A 32-bit seed for the request, or the batch of requests, with these ids."""
    text = f"{seed}:" + ",".join(ids)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
