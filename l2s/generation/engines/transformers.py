"""Answers and hidden states through transformers: batches on one device."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, cast

import torch
from transformers import GenerationConfig, PreTrainedModel

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import peak_memory_bytes, release_memory
from l2s.errors import UserError
from l2s.generation.engines.batches import cut_batches, left_padded, needs_to_be_alone
from l2s.generation.engines.protocol import (
    Completion,
    ModelChoice,
    ModelCost,
    Request,
    Sampling,
    cut_at_stop,
    seed_of,
)
from l2s.generation.engines.static_decoding import decode, has_static_steps
from l2s.models.load import count_parameters, load_model, weight_bytes
from l2s.signals.hidden import ModelHidden

# Prompt tokens that take as long as one decoding step: a step reads every weight once, a token multiplies with each.
# On a CPU this is its FLOP/s over its bytes/s, to the order of magnitude; `l2s plan` shows both. On a GPU a step of a
# small model waits for Python, for as long as thousands of tokens are prefilled.
PROMPT_TOKENS_PER_STEP = {"cpu": 16, "cuda": 2_000}

# Decoding steps after which finished answers leave the batch. The others are prefilled again, which is cheap on a GPU.
# A CPU prefills about as fast as it decodes, so there an answer is decoded in one go.
SEGMENT_STEPS = {"cpu": sys.maxsize, "cuda": 96}


class TransformersEngine:
    """Batches with left padding, prompts of similar length together.

    A batch is decoded in steps of one shape if the model allows it, else through transformers' `generate`.
    Where memory runs out, a batch is answered in smaller parts.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: ChatRenderer,
        *,
        batch_size: int,
        part_sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.model = model
        self.renderer = renderer
        self.batch_size = batch_size
        self.part_sizes = part_sizes or {}
        self.shrunk: set[int] = set()  # the sizes that did not fit, each printed once
        self.static = has_static_steps(model)
        self.stop_ids = stop_ids(model.generation_config, renderer)
        model.generation_config = GenerationConfig()  # settings left out here would come from the model's own file

    @classmethod
    def open(cls, choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig) -> Self:
        """Load the model.

        Raises:
            UserError: it cannot be loaded.
        """
        model = load_model(choice.name, config, quantization=choice.quantization)
        return cls(model, renderer, batch_size=choice.batch_size, part_sizes=choice.part_sizes)

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`."""
        padding = sampling.max_new_tokens * PROMPT_TOKENS_PER_STEP[self.model.device.type]
        return list(cut_batches(requests, 1 if self.one_at_a_time else self.batch_size, padding))

    @cached_property
    def one_at_a_time(self) -> bool:
        """Whether the model's answers depend on the prompts beside theirs, so that each prompt is a batch."""
        found = not self.static and self.batch_size > 1 and needs_to_be_alone(self.model, self.renderer)
        if found:
            print(f"{type(self.model).__name__} mixes up the prompts of a batch; answers one at a time", flush=True)
        return found

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Answering`. Batches are cut from all requests, done or not: an answer may depend on its padding."""
        for batch in self.batches(requests, sampling):
            if any(request.id not in done for request in batch):
                yield [answer for answer in self._answer(batch, sampling) if answer.id not in done]

    def _answer(self, batch: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """The answers to a batch, in parts of as many prompts as fit into memory.

        Every batch begins with `batch_size`: where others use the GPU too, the last batch does not say what fits now.
        Where a compared model took fewer prompts, this one takes as few.

        Raises:
            UserError: a single prompt does not fit.
        """
        answers: list[Completion] = []
        most = self.batch_size
        while rest := batch[len(answers) :]:
            size = min(most, self.part_sizes.get(rest[0].id, most))
            part = rest[:size]
            try:
                answers += self._answer_together(part, sampling, size)
            except torch.OutOfMemoryError:
                fitted = False
            else:
                fitted = True
            if not fitted:
                most = self._half(part, sampling)
        return answers

    def _half(self, part: Sequence[Request], sampling: Sampling) -> int:
        """The number of prompts to answer at a time where `part` did not fit.

        Raises:
            UserError: it is a single prompt.
        """
        if len(part) == 1:
            raise UserError(
                f"out of memory with one prompt of {len(part[0].prompt_ids)} tokens and max_new_tokens="
                f"{sampling.max_new_tokens}; lower --max_new_tokens, take shorter prompts, --engine vllm, or "
                "--teacher_quantization for a teacher"
            )
        release_memory()
        half = len(part) // 2
        if len(part) not in self.shrunk:
            print(f"out of memory with {len(part)} prompts at a time; repeated with {half}", flush=True)
        self.shrunk.add(len(part))
        return half

    def _answer_together(self, batch: Sequence[Request], sampling: Sampling, size: int) -> list[Completion]:
        """The answers to one part of at most `size` prompts."""
        begin = time.monotonic()
        tokens = self._decode(batch, sampling) if self.static else self._generate(batch, sampling)
        cut = {request.id: cut_at_stop(tokens[request.id], self.stop_ids) for request in batch}
        speed = sum(len(kept) for kept, _ in cut.values()) / (time.monotonic() - begin)
        return [
            Completion(id_, self.renderer.decode(kept), reason, len(kept), len(kept) / speed, kept, size)
            for id_, (kept, reason) in cut.items()
        ]

    def _decode(self, batch: Sequence[Request], sampling: Sampling) -> dict[str, list[int]]:
        """The answers in steps of one shape."""
        sequences = [request.prompt_ids for request in batch]
        seed = seed_of(sampling.seed, (request.id for request in batch))
        pad = self.renderer.pad_token_id
        tokens = decode(self.model, sequences, sampling, stop_ids=self.stop_ids, pad_id=pad, seed=seed)
        return {request.id: answer for request, answer in zip(batch, tokens, strict=True)}

    def _generate(self, batch: Sequence[Request], sampling: Sampling) -> dict[str, list[int]]:
        """The answers through `generate`."""
        answers: dict[str, list[int]] = {request.id: [] for request in batch}
        running = list(batch)
        segment = SEGMENT_STEPS[self.model.device.type]
        for start in range(0, sampling.max_new_tokens, segment):
            steps = min(segment, sampling.max_new_tokens - start)
            sequences = [[*request.prompt_ids, *answers[request.id]] for request in running]
            seed = seed_of(sampling.seed + start, (request.id for request in batch))
            for request, tokens in zip(running, self._continue(sequences, sampling, steps, seed), strict=True):
                answers[request.id] += tokens
            running = [request for request in running if cut_at_stop(answers[request.id], self.stop_ids)[1] == "length"]
            if not running:
                break
        return answers

    @torch.inference_mode()
    def _continue(
        self, sequences: Sequence[Sequence[int]], sampling: Sampling, steps: int, seed: int
    ) -> list[list[int]]:
        """Up to `steps` further tokens of each sequence; one that ends early is followed by padding."""
        inputs = left_padded(sequences, self.renderer.pad_token_id, self.model.device)
        torch.manual_seed(seed)
        output_BT = cast(Any, self.model).generate(
            **inputs,
            generation_config=self._generation_config(sampling, steps),
        )
        continued: list[list[int]] = output_BT[:, inputs["input_ids"].shape[1] :].tolist()
        return continued

    def _generation_config(self, sampling: Sampling, steps: int) -> GenerationConfig:
        drawing: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            drawing = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            **drawing,
            max_new_tokens=steps,
            eos_token_id=sorted(self.stop_ids),
            pad_token_id=self.renderer.pad_token_id,
        )

    def hidden(self) -> ModelHidden:
        """The hidden states of the loaded model."""
        return ModelHidden(self.model)

    def cost(self) -> ModelCost:
        """Size of the loaded model, and the peak memory of this process."""
        peak = peak_memory_bytes(self.model.device)
        return ModelCost(count_parameters(self.model), weight_bytes(self.model), peak)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: the model's memory is freed when the process ends."""


def stop_ids(declared: GenerationConfig | None, renderer: ChatRenderer) -> frozenset[int]:
    """The tokens that end an answer: the renderer's end tokens, and every EOS of the model's generation config."""
    ids = declared.eos_token_id if declared is not None else None
    own = ids if isinstance(ids, list) else [ids] if ids is not None else []
    return renderer.stop_ids | set(own)
