"""Answers and hidden states through vLLM: continuous batching, and models split over GPUs.

vLLM loads a model either for answers or for hidden states. The engine loads it for whichever is asked, and reloads it
for the other. The model runs in vLLM's own processes, which end with the engine.

Shapes: T tokens of a sequence, N response tokens, H hidden size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import pick_device, torch_dtype
from l2s.generation.engines.protocol import (
    Completion,
    ModelChoice,
    ModelCost,
    Request,
    Sampling,
    cut_at_stop,
    independent,
    seed_of,
)
from l2s.generation.engines.transformers import stop_ids
from l2s.generation.engines.vllm_process import VllmProcess
from l2s.loss.reference import IGNORE_INDEX
from l2s.models.head import Head
from l2s.models.load import count_parameters, load_generation_config
from l2s.models.stored import empty_model, stored_bytes, stored_head
from l2s.sequences import TrainingSequence, shift

IN_FLIGHT = 256  # sequences whose hidden states may wait in memory: 1 GB at 1,000 tokens and H = 2048 in bf16


class VllmEngine:
    """One model in vLLM."""

    def __init__(self, choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig) -> None:
        self.choice, self.renderer, self.config = choice, renderer, config
        self.stop_ids = stop_ids(load_generation_config(choice.name), renderer)
        self.process = VllmProcess(choice, config)

    @classmethod
    def open(cls, choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig) -> Self:
        """An engine that loads its model at the first request."""
        return cls(choice, renderer, config)

    def batches(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Request]]:
        """See `Answering`."""
        return independent(requests)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, done: Collection[str] = ()
    ) -> Iterator[list[Completion]]:
        """See `Answering`. vLLM gets all requests at once and fills its batches with them."""
        left = [request for request in requests if request.id not in done]
        if not left:
            return
        longest = max(len(request.prompt_ids) for request in left) + sampling.max_new_tokens
        engine = self.process.started("generate", longest)
        for request in left:
            engine.add_request(
                request.id, {"prompt_token_ids": request.prompt_ids}, self.sampling_params(request.id, sampling)
            )
        begin = time.monotonic()
        for outputs in _finished(engine):
            now = time.monotonic()
            yield self._completions(outputs, now - begin)
            begin = now

    def sampling_params(self, id_: str, sampling: Sampling) -> Any:
        """vLLM's sampling parameters for the request `id_`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        greedy = sampling.temperature == 0
        return SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
            seed=None if greedy else seed_of(sampling.seed, [id_]),
            stop_token_ids=sorted(self.stop_ids),
            ignore_eos=True,  # stop_token_ids holds every end token
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completions(self, outputs: Sequence[Any], seconds: float) -> list[Completion]:
        """The answers that finished together.

        They share the seconds since the previous ones in proportion to their lengths.
        """
        answers = [cut_at_stop(output.outputs[0].token_ids, self.stop_ids) for output in outputs]
        speed = sum(len(tokens) for tokens, _ in answers) / seconds
        decode = self.renderer.decode
        return [
            Completion(output.request_id, decode(tokens), reason, len(tokens), len(tokens) / speed, tokens)
            for output, (tokens, reason) in zip(outputs, answers, strict=True)
        ]

    def hidden(self) -> VllmHidden:
        """The hidden states of the engine's model.

        If vLLM has answered, it ends first: it loads the model again anyway, and on 24 GB it leaves the heads no room.
        """
        self.process.stop()
        return VllmHidden(self.choice, self.config, self.process)

    def cost(self) -> ModelCost:
        """Size of the model. There is no peak memory: vLLM fills a fixed share of a GPU, whatever the model needs."""
        parameters = count_parameters(empty_model(self.choice.name, self.config))
        return ModelCost(parameters, stored_bytes(self.choice.name, self.config, self.choice.quantization), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stop()


class VllmHidden:
    """Hidden states from vLLM's pooling runner: all tokens of a prompt, not normalised, in `config.dtype`."""

    def __init__(self, choice: ModelChoice, config: ExperimentConfig, process: VllmProcess) -> None:
        self.choice, self.config, self.process = choice, config, process

    @cached_property
    def head(self) -> Head:
        """The output head from the model's files, which quantisation does not change."""
        stored = stored_head(self.choice.name, self.config)
        return Head(stored.weight.to(pick_device(self.config)), stored.transform)

    def of(self, batches: Iterable[Sequence[TrainingSequence]]) -> Iterator[Tensor]:
        """See `HiddenStates`. vLLM batches the sequences of all `batches` itself."""
        groups = list(batches)
        rows = self._rows(list(chain.from_iterable(groups)))
        device = self.head.weight.device
        for group in groups:
            yield torch.cat([next(rows) for _ in group]).to(device)

    def _rows(self, sequences: Sequence[TrainingSequence]) -> Iterator[Tensor]:
        """The rows [N, H] of each sequence, in order."""
        engine = self.process.started("pooling", max(len(item.input_ids) for item in sequences))
        waiting = deque(enumerate(sequences))
        finished: dict[int, Tensor] = {}
        for number, sequence in enumerate(sequences):
            while number not in finished:
                while waiting and waiting[0][0] < number + IN_FLIGHT:
                    self._ask(engine, *waiting.popleft())
                finished |= {int(output.request_id): output.outputs.data for output in engine.step() if output.finished}
            yield self._of_response(finished.pop(number), sequence)

    def _ask(self, engine: Any, number: int, sequence: TrainingSequence) -> None:
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_embed", use_activation=False)
        engine.add_request(str(number), {"prompt_token_ids": sequence.input_ids}, parameters)

    def _of_response(self, hidden_TH: Tensor, sequence: TrainingSequence) -> Tensor:
        """The rows that predict response tokens. vLLM returns float32, which holds bfloat16 numbers exactly."""
        kept_T = torch.tensor(shift(sequence.labels)) != IGNORE_INDEX
        return hidden_TH.cpu()[kept_T].to(torch_dtype(self.config))


def _finished(engine: Any) -> Iterator[list[Any]]:
    """The finished outputs of each vLLM step that has any, until no request is left."""
    while engine.has_unfinished_requests():
        if outputs := [output for output in engine.step() if output.finished]:
            yield outputs
