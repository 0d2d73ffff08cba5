"""What is known about a model without loading it: its size from its configuration, its output head from its files.

Shapes: V vocabulary, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from l2s import hub
from l2s.config import ExperimentConfig, Quantization
from l2s.devices import torch_dtype
from l2s.errors import UserError, words_of
from l2s.loss.logit_transform import declared_transform
from l2s.models.head import Head, output_head
from l2s.models.load import USABLE, checkpoint_bytes, field_of, load_config, quantised_by, weight_bytes

CACHE_SHARE = 0.15  # share of a GPU's memory reserved for the cache and activations


def empty_model(name: str, config: ExperimentConfig) -> PreTrainedModel:
    """The model on the meta device: it has all shapes and takes no memory.

    Raises:
        UserError: its configuration cannot be loaded, or is none of a causal language model.
    """
    build, found = cast(Any, AutoModelForCausalLM).from_config, load_config(name, config)
    try:
        with torch.device("meta"):
            model = build(found, dtype=torch_dtype(config), trust_remote_code=config.trust_remote_code)
    except Exception as error:  # the code of others raises whatever it stumbles over
        raise UserError(
            f"{field_of(name, config)}={name!r}: cannot be made as a causal language model ({hub.first_line(error)}); "
            "choose another model"
        ) from error
    return cast(PreTrainedModel, model)


def quantization_method(name: str, config: ExperimentConfig) -> str | None:
    """The method (awq, gptq, fp8, ...) of a checkpoint published in quantised form; None for plain weights.

    Raises:
        UserError: its configuration cannot be loaded.
    """
    return quantised_by(load_config(name, config))


def context_window(found: PreTrainedConfig) -> int | None:
    """Number of positions that a model was made for; None if its configuration does not say.

    Stretched RoPE (YaRN, dynamic, linear) reads `factor` times the positions of training. Some configurations give the
    stretched number, some the original one.
    """
    text = found.get_text_config()
    stated = getattr(text, "max_position_embeddings", None)
    if not isinstance(stated, int) or stated <= 0:
        return None
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if rope.get("rope_type", rope.get("type")) not in ("yarn", "dynamic", "linear"):
        return stated
    original = rope.get("original_max_position_embeddings") or stated
    return max(stated, int(original * (rope.get("factor") or 1.0)))


def num_experts(name: str, config: ExperimentConfig) -> int:
    """Number of experts in a layer of a mixture-of-experts model; 0 for other models.

    Raises:
        UserError: its configuration cannot be loaded.
    """
    text = load_config(name, config).get_text_config()
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    return next((int(number) for field in names if (number := getattr(text, field, None))), 0)


def attention_heads(name: str, config: ExperimentConfig) -> int:
    """Number of attention heads of a model; 0 for one without attention, such as Mamba.

    Raises:
        UserError: its configuration cannot be loaded.
    """
    return int(getattr(load_config(name, config).get_text_config(), "num_attention_heads", None) or 0)


def stored_bytes(name: str, config: ExperimentConfig, quantization: Quantization) -> int:
    """Bytes of the weights in memory: from the files of a quantised checkpoint, else from the configuration.

    With fp8, the matrices of linear layers and experts take one byte a weight; embeddings and output head are
    unchanged.

    Raises:
        UserError: the configuration cannot be loaded.
    """
    if quantization_method(name, config) is not None and (size := checkpoint_bytes(name)):
        return size
    model = empty_model(name, config)
    whole = weight_bytes(model)
    return whole - (_matrix_bytes(model) // 2 if quantization == "fp8" else 0)


def _matrix_bytes(model: PreTrainedModel) -> int:
    """Bytes of the matrices that fp8 halves."""
    head = output_head(model)
    linear = [module.weight for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    experts = [weight for path, weight in model.named_parameters() if ".experts." in path and weight.dim() == 3]
    return sum(weight.numel() * weight.element_size() for weight in (*linear, *experts))


def gpus_to_hold(weight_bytes: int, heads: int, card_bytes: int, cards: int) -> int | None:
    """The smallest number of `cards` GPUs that hold a split model and leave room for its cache; None: too few.

    A split takes a power of two GPUs, and the same number of attention heads on each; 0 heads allow any split.
    """
    room = (USABLE - CACHE_SHARE) * card_bytes
    numbers = (2**power for power in range(cards.bit_length()))
    return next((n for n in numbers if n <= cards and heads % n == 0 and weight_bytes / n <= room), None)


def stored_head(name: str, config: ExperimentConfig) -> Head:
    """The output head of a model from its files, in `config.dtype`, on the CPU.

    Raises:
        UserError: the configuration or the files cannot be loaded, or logits are more than one plain product.
    """
    transform = declared_transform(load_config(name, config))
    model = empty_model(name, config)
    weight = output_head(model).weight
    names = [path for path, other in model.named_parameters(remove_duplicate=False) if other is weight]
    for file in sorted(_weights_folder(name, config).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                if found := _name_in_file(tensors, names, list(weight.shape)):
                    matrix: Tensor = tensors.get_tensor(found)
                    return Head(matrix.to(torch_dtype(config)), transform)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{file}: cannot be read ({words_of(error)}); copy or download the model again") from None
    raise UserError(
        f"{name}: none of its *.safetensors holds the output head ({' or '.join(names)}); use --engine transformers"
    )


def _name_in_file(tensors: Any, names: Sequence[str], shape: list[int]) -> str | None:
    """The name under which a file holds the weight that the model calls `names`; None if it does not.

    Files may have another prefix than the model, such as those of Gemma 3, whose text is a part beside its images: then
    the last two parts of the name and the shape decide.
    """
    stored = list(tensors.keys())
    tails = tuple("." + ".".join(name.split(".")[-2:]) for name in names)
    alike = (name for name in stored if f".{name}".endswith(tails) and tensors.get_slice(name).get_shape() == shape)
    return next((name for name in names if name in stored), None) or next(alike, None)


def _weights_folder(name: str, config: ExperimentConfig) -> Path:
    if Path(name).is_dir():
        return Path(name)
    hub.expect(name)
    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json"]))
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {hub.explain(name, error)}") from error
