"""Load causal language models for inference or training, or only their configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils.hub import cached_file

from l2s import hub
from l2s.config import ExperimentConfig, Quantization
from l2s.devices import pick_device, process_count, torch_dtype
from l2s.errors import UserError
from l2s.models.attention import attention_argument, use_grouped_attention
from l2s.models.lora import add_lora

SAFETENSORS_INDEX = "model.safetensors.index.json"
# transformers would add it to the weights, vLLM would not, and of a student that has one only the adapter is saved
HOLDS_ADAPTER = (
    "holds adapter_config.json beside the model, an adapter that some engines add to it and others do not; merge the "
    "adapter into the weights (merge_and_unload) and save the model again, or move the adapter's files away"
)
USABLE = 0.9  # share of a GPU's memory that a model and its cache may use


def load_model(name: str, config: ExperimentConfig, *, quantization: Quantization = "none") -> PreTrainedModel:
    """A model for inference: on the device of `config`, in its dtype, in eval mode, without gradients.

    Raises:
        UserError: the model cannot be loaded; the message names the field, the value and the fix.
    """
    model = _from_pretrained(
        name, config, dtype=torch_dtype(config), device=pick_device(config), quantization=quantization
    )
    use_grouped_attention(model)
    _project_last_token_without_copies(model)
    model.requires_grad_(False)
    model.train(False)
    return model


def _project_last_token_without_copies(model: PreTrainedModel) -> None:
    """Make the input of the output head contiguous.

    Before its first new token, `generate` takes the last position of every prompt, a strided slice. torch's linear
    layer multiplies such a slice as a batch, with a copy of the whole head for each prompt. For a batch of 32 at a
    vocabulary of 152k on a CPU, that takes minutes and gigabytes. Copying the slice costs almost nothing.
    """
    head = cast(Any, model).get_output_embeddings()
    if isinstance(head, nn.Module):
        head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))


def load_student_for_training(name: str, config: ExperimentConfig) -> nn.Module:
    """The student, wrapped for `config.tuning`.

    qlora: NF4 weights with doubly quantised scales under LoRA. lora: LoRA on weights of `config.dtype`. full: all
    weights, in float32, because an update of relative size 1e-3 is lost in a bfloat16 weight; activations still have
    `config.dtype`.

    Under LoRA, embeddings, norms and the output head stay in `config.dtype`: they are frozen, and a float32 copy of the
    head would double the cost of the loss.

    Raises:
        UserError: the model cannot be loaded, or LoRA cannot be put on it.
    """
    full = config.tuning == "full"
    in_4_bits = config.tuning == "qlora" and quantised_by(load_config(name, config)) is None  # else it has its own
    model = _from_pretrained(
        name,
        config,
        dtype=torch.float32 if full else torch_dtype(config),
        device=pick_device(config),
        quantization="nf4" if in_4_bits else "none",
    )
    return prepare_for_training(model, config)


def prepare_for_training(model: PreTrainedModel, config: ExperimentConfig) -> nn.Module:
    """Put LoRA on a loaded model unless tuning is full, set gradient checkpointing, and switch to train mode.

    Raises:
        UserError: LoRA cannot be put on it, or it cannot recompute activations.
    """
    model.config.use_cache = False
    if config.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise UserError(
                f"gradient_checkpointing=True: {type(model).__name__} cannot recompute its activations; set "
                "--gradient_checkpointing false"
            )
        cast(Any, model).gradient_checkpointing_enable({"use_reentrant": False})
    student = model if config.tuning == "full" else add_lora(model, config)
    return student.train()  # eval mode would repack 4-bit weights for inference on a CPU


def causal_lm_of(student: nn.Module) -> Any:
    """A student that is ready for training, without LoRA's wrapper; LoRA's layers are inside the model."""
    get_base_model = getattr(student, "get_base_model", None)
    return student if get_base_model is None else get_base_model()


def switch_off_dropout(model: nn.Module) -> None:
    """Set eval mode, except for 4-bit layers: they would repack their weights and could not be trained afterwards."""
    model.eval()
    for module in model.modules():
        kind = type(module)  # known by name: nothing else here needs bitsandbytes, and PEFT has a Linear4bit too
        if kind.__name__ == "Linear4bit" and kind.__module__.startswith("bitsandbytes."):
            module.train()


@contextmanager
def without_dropout(student: nn.Module) -> Iterator[None]:
    """In this block a student that is ready for training computes without dropout; afterwards it is ready again."""
    switch_off_dropout(student)
    try:
        yield
    finally:
        student.train()


def _from_pretrained(
    name: str, config: ExperimentConfig, *, dtype: torch.dtype, device: torch.device, quantization: Quantization
) -> PreTrainedModel:
    attention = attention_argument(load_config(name, config))
    try:
        model, found = cast(Any, AutoModelForCausalLM).from_pretrained(
            name,
            dtype=dtype,
            device_map=_device_map(name, config, device),
            use_safetensors=True,  # a pickled checkpoint can run code
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            **attention,
            **_quantization_argument(quantization, dtype),
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # broken files raise whatever the libraries that read them stumble over
        raise UserError(_load_failure(name, config, error)) from error
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UserError(f"{field_of(name, config)}={name!r}: {HOLDS_ADAPTER}")
    _check_complete(name, config, found)
    return cast(PreTrainedModel, model)


def _check_complete(name: str, config: ExperimentConfig, found: Mapping[str, Any]) -> None:
    """Refuse files that lack weights, or hold them in another shape: transformers would make up random ones.

    Raises:
        UserError: names one of them.
    """
    for what, reason in (("missing_keys", "is not in its files"), ("mismatched_keys", "has another shape there")):
        if wrong := sorted(map(str, found.get(what) or ())):
            raise UserError(
                f"{field_of(name, config)}={name!r}: the weight {wrong[0]} {reason} ({len(wrong)} such in all); "
                "copy or download the model again"
            )


def _device_map(name: str, config: ExperimentConfig, device: torch.device) -> dict[str, torch.device] | Literal["auto"]:
    """One device. Layers are spread over all visible GPUs of a single process if --teacher_gpus asks for several.

    Placement shows a process several GPUs only then; a program that shows all of them gets the spread when the files
    are too large for one.
    """
    alone = device.type == "cuda" and process_count() == 1 and torch.cuda.device_count() > 1
    if alone and (config.teacher_gpus > 1 or checkpoint_bytes(name) > USABLE * _memory_of(device)):
        return "auto"
    return {"": device}


def _memory_of(gpu: torch.device) -> int:
    return int(torch.cuda.get_device_properties(gpu).total_memory)


def _quantization_argument(quantization: Quantization, dtype: torch.dtype) -> dict[str, BitsAndBytesConfig]:
    """The quantisation argument of `from_pretrained`: none at all, not even None, where the checkpoint has its own."""
    if quantization == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    if quantization == "nf4":
        nf4 = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        return {"quantization_config": nf4}
    return {}


def _load_failure(name: str, config: ExperimentConfig, error: Exception) -> str:
    field = field_of(name, config)
    if code := hub.asks_for_code(error):
        return f"{field}={name!r}: {code}"
    if Path(name).is_dir():
        return (
            f"{field}={name!r}: this folder cannot be loaded as a causal language model ({hub.first_line(error)}); "
            "it needs a whole config.json and *.safetensors: copy or download the model again"
        )
    return f"{field}={name!r}: {hub.explain(name, error)}"


def field_of(name: str, config: ExperimentConfig) -> str:
    """The field of `config` that names a model, for errors."""
    return "teacher_model" if name == config.teacher_model else "student_model"


def load_base(name: str, config: ExperimentConfig) -> PreTrainedModel:
    """The model that training started from, on the CPU and in the configured dtype; 4-bit weights are dequantised."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    cpu = torch.device("cpu")
    unset_hf_deepspeed_config()  # of the training in this process: with ZeRO-3 transformers would shard this model too
    model: Any = _from_pretrained(name, config, dtype=torch_dtype(config), device=cpu, quantization="none")
    if getattr(model, "is_quantized", False):
        model = model.dequantize()
        model.hf_quantizer = model._weight_conversions = None  # otherwise save_pretrained would quantise again
    return cast(PreTrainedModel, model)


def quantised_by(found: PreTrainedConfig) -> str | None:
    """The method (bitsandbytes, gptq, fp8, ...) of a checkpoint published in quantised form; None for plain weights."""
    declared = getattr(found, "quantization_config", None)
    method = declared.get("quant_method") if isinstance(declared, dict) else getattr(declared, "quant_method", None)
    if method is None and isinstance(declared, dict) and {"load_in_4bit", "load_in_8bit"} & declared.keys():
        return "bitsandbytes"  # the form of bitsandbytes' first versions
    return None if method is None else str(getattr(method, "value", method))


def load_config(name: str, config: ExperimentConfig) -> PreTrainedConfig:
    """The configuration of a model, without its weights.

    Raises:
        UserError: it cannot be loaded.
    """
    hub.expect(name)
    try:
        found = AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code)
    except Exception as error:  # a broken file raises whatever its reader stumbles over
        raise UserError(_load_failure(name, config, error)) from error
    return cast(PreTrainedConfig, found)


def load_generation_config(name: str) -> GenerationConfig | None:
    """The model's generation config, which declares its end tokens; None if it has none."""
    hub.expect(name)
    try:
        return GenerationConfig.from_pretrained(name)
    except OSError:
        return None


def checkpoint_bytes(name: str) -> int:
    """Size of the weight files: of those in a folder, or from the index; 0 if neither is known."""
    if Path(name).is_dir():
        return sum(file.stat().st_size for file in Path(name).glob("*.safetensors") if file.is_file())
    index = cached_file(
        name,
        SAFETENSORS_INDEX,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return int(json.loads(Path(index).read_text())["metadata"]["total_size"]) if index else 0


def vocabulary_size(name: str, config: ExperimentConfig) -> int:
    """Number of rows of a model's output head, from its configuration alone.

    Raises:
        UserError: the configuration cannot be loaded.
    """
    return int(load_config(name, config).get_text_config().vocab_size)


def count_parameters(model: nn.Module) -> int:
    """Number of weights. Tied weights count once; 4-bit weights count as the numbers that they encode."""
    return int(cast(Any, model).num_parameters())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the loaded weights in memory, including quantisation scales."""
    return int(cast(Any, model).get_memory_footprint())
