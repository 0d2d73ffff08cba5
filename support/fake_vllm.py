"""The part of vLLM's Python interface that our engine uses, over a small transformers model.

Requests finish in another order than they arrive, one in each step, as with continuous batching. The fake refuses what
vLLM refuses: a sequence longer than `max_model_len`, a second request with the same id, a request for the wrong runner.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    FINAL_ONLY = 2


@dataclass(frozen=True)
class SamplingParams:
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool
    output_kind: RequestOutputKind


@dataclass(frozen=True)
class PoolingParams:
    task: str
    use_activation: bool


@dataclass(frozen=True)
class PoolerConfig:
    task: str
    use_activation: bool


@dataclass(frozen=True)
class Asked:
    """A request that vLLM received."""

    id: str
    prompt: list[int]
    parameters: SamplingParams | PoolingParams


@dataclass
class FakeVllm:
    """Everything that vLLM was asked, over all starts.

    Attributes:
        starts: arguments of each `LLM(...)`.
        refuses: exception for the next start.
        breaks_after: number of outputs after which a step raises; None: never.
        most_waiting: largest number of requests that waited at a time.
    """

    starts: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    running: int = 0
    refuses: Exception | None = None
    breaks_after: int | None = None
    most_waiting: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make `import vllm` return the fake."""
        modules: dict[str, dict[str, Any]] = {
            "vllm": {"LLM": self._start, "SamplingParams": SamplingParams, "PoolingParams": PoolingParams},
            "vllm.config": {"PoolerConfig": PoolerConfig},
            "vllm.sampling_params": {"RequestOutputKind": RequestOutputKind},
            "vllm.distributed": {"cleanup_dist_env_and_memory": lambda: None},
        }
        for name, contents in modules.items():
            module = ModuleType(name)
            vars(module).update(contents)
            monkeypatch.setitem(sys.modules, name, module)

    def _start(self, **arguments: Any) -> Any:
        if self.refuses:
            raise self.refuses
        assert self.running == 0, "two models in memory at a time"
        self.starts.append(arguments)
        self.running += 1
        return SimpleNamespace(llm_engine=FakeLlmEngine(self, arguments))


class FakeLlmEngine:
    """Replaces `vllm.v1.engine.llm_engine.LLMEngine`."""

    def __init__(self, log: FakeVllm, arguments: dict[str, Any]) -> None:
        self.log, self.arguments = log, arguments
        model: Any = AutoModelForCausalLM.from_pretrained(arguments["model"], dtype=torch.float32)
        self.model = cast(PreTrainedModel, model.eval())
        self.waiting: list[Asked] = []
        self.engine_core = SimpleNamespace(shutdown=self._shutdown)

    def _shutdown(self) -> None:
        self.log.running -= 1

    def add_request(self, request_id: str, prompt: dict[str, list[int]], params: Any) -> None:
        assert isinstance(params, SamplingParams if self.arguments["runner"] == "generate" else PoolingParams)
        asked = Asked(request_id, list(prompt["prompt_token_ids"]), params)
        assert request_id not in {other.id for other in self.waiting}
        room = self.arguments["max_model_len"] - (params.max_tokens if isinstance(params, SamplingParams) else 0)
        if len(asked.prompt) > room:
            raise ValueError(f"a prompt of {len(asked.prompt)} tokens is longer than the model takes")
        self.log.asked.append(asked)
        self.waiting.append(asked)
        self.log.most_waiting = max(self.log.most_waiting, len(self.waiting))

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    @torch.inference_mode()
    def step(self) -> list[Any]:
        if self.log.breaks_after == 0:
            raise RuntimeError("a worker died")
        if self.log.breaks_after is not None:
            self.log.breaks_after -= 1
        asked = self.waiting.pop()
        unfinished = [SimpleNamespace(request_id=other.id, finished=False) for other in self.waiting[:1]]
        if isinstance(asked.parameters, PoolingParams):
            data = SimpleNamespace(data=self._hidden(asked.prompt))
            return [*unfinished, SimpleNamespace(request_id=asked.id, finished=True, outputs=data)]
        answer = SimpleNamespace(token_ids=self._answer(asked.prompt, asked.parameters))
        return [*unfinished, SimpleNamespace(request_id=asked.id, finished=True, outputs=[answer])]

    def _answer(self, prompt: list[int], parameters: SamplingParams) -> list[int]:
        tokens = list(prompt)
        generator = torch.Generator().manual_seed(parameters.seed or 0)
        while len(tokens) < len(prompt) + parameters.max_tokens:
            logits_V = self.model(torch.tensor([tokens])).logits[0, -1]
            if parameters.temperature:
                probabilities_V = (logits_V / parameters.temperature).softmax(-1)
                tokens.append(int(torch.multinomial(probabilities_V, 1, generator=generator)))
            else:
                tokens.append(int(logits_V.argmax()))
            if tokens[-1] in parameters.stop_token_ids:
                break
        return tokens[len(prompt) :]

    def _hidden(self, prompt: list[int]) -> Tensor:
        decoder: Any = self.model.get_decoder()
        hidden_TH: Tensor = decoder(torch.tensor([prompt])).last_hidden_state[0]
        return hidden_TH.float()
