"""Loading, wrapping, merging and saving causal language models."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from l2s import hub
from l2s.attention import use_grouped_attention
from l2s.config import ExperimentConfig, Quantization
from l2s.errors import UserError
from l2s.processes import process_rank
from l2s.training.logit_transform import LogitTransform, declared_transform


def pick_device(config: ExperimentConfig) -> torch.device:
    """The device of this process: under torchrun, the GPU of its local rank.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("device='cuda': no CUDA device is visible; use --device cpu, or check nvidia-smi")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def torch_dtype(config: ExperimentConfig) -> torch.dtype:
    """`config.dtype` as torch names it."""
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[config.dtype]


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
    """Hand the output head hidden states that lie in one piece.

    Before its first new token `generate` takes the last position of every prompt, a strided slice. For it torch's
    linear layer becomes a batched product over one copy of the whole head for each prompt: on a CPU minutes and
    gigabytes for a batch of 32 at a vocabulary of 152k. Copying the slice costs nothing.
    """
    head = cast(Any, model).get_output_embeddings()
    if isinstance(head, nn.Module):
        head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))


def load_student_for_training(name: str, config: ExperimentConfig) -> nn.Module:
    """The student, wrapped for `config.tuning`.

    qlora: NF4 weights with doubly quantised scales under LoRA. lora: LoRA on weights of `config.dtype`.
    full: all weights, in float32 (an update of relative size 1e-3 is lost in a bfloat16 weight; the activations
    still are of `config.dtype`).

    Embeddings, norms and the output head stay in `config.dtype` under LoRA: they are frozen, and a float32 copy of
    the head would double the cost of the loss.

    Raises:
        UserError: the model cannot be loaded, or LoRA cannot be put on it.
    """
    full = config.tuning == "full"
    model = _from_pretrained(
        name,
        config,
        dtype=torch.float32 if full else torch_dtype(config),
        device=pick_device(config),
        quantization="nf4" if config.tuning == "qlora" else "none",
    )
    return prepare_for_training(model, config)


def prepare_for_training(model: PreTrainedModel, config: ExperimentConfig) -> nn.Module:
    """Put LoRA on a loaded model unless all of it is trained, switch on checkpointing, and set it to train mode.

    Raises:
        UserError: LoRA cannot be put on it.
    """
    model.config.use_cache = False
    if config.gradient_checkpointing:
        cast(Any, model).gradient_checkpointing_enable({"use_reentrant": False})
    student = model if config.tuning == "full" else _add_lora(model, config)
    return student.train()  # in eval mode bitsandbytes repacks 4-bit weights for inference on the CPU


def switch_off_dropout(model: nn.Module) -> None:
    """Set eval mode but for 4-bit layers, which would repack their weights for inference and not train any more."""
    from bitsandbytes.nn import Linear4bit

    model.eval()
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.train()


def _add_lora(model: PreTrainedModel, config: ExperimentConfig) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    names = [name.strip() for name in config.lora_target_modules.split(",")]
    if "lm_head" in names:
        raise UserError("lora_target_modules: leave out 'lm_head'; the loss needs the output head as one matrix")
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if names == ["all-linear"] else names,
    )
    torch.manual_seed(config.seed)  # the adapter starts from random numbers
    try:
        return cast(nn.Module, get_peft_model(model, lora))
    except ValueError as error:
        raise UserError(f"lora_target_modules={config.lora_target_modules!r}: {error}") from error


def _from_pretrained(
    name: str, config: ExperimentConfig, *, dtype: torch.dtype, device: torch.device, quantization: Quantization
) -> PreTrainedModel:
    hub.expect(name)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,  # a pickled checkpoint can run code
            trust_remote_code=config.trust_remote_code,
            quantization_config=_quantization_config(quantization, dtype),
        )
    except (OSError, ValueError) as error:
        raise UserError(_load_failure(name, config, error)) from error
    return cast(PreTrainedModel, model)


def _quantization_config(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if quantization == "none":
        return None
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _load_failure(name: str, config: ExperimentConfig, error: Exception) -> str:
    field = "teacher_model" if name == config.teacher_model else "student_model"
    if Path(name).is_dir():
        reason = str(error).strip().splitlines()[0]
        return (
            f"{field}={name!r}: this folder cannot be loaded as a causal language model ({reason}); "
            "it needs config.json and *.safetensors"
        )
    return f"{field}={name!r}: {hub.explain(name, error)}"


def save_trained_student(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path, config: ExperimentConfig
) -> None:
    """Write folder/final_model, and folder/adapter where LoRA made one. A kill leaves no half-written final_model.

    final_model holds plain weights of `config.dtype` without quantisation, the generation config and the tokenizer.
    An adapter is merged into freshly loaded base weights, because NF4 weights have lost what merging needs.
    Every process of a training calls this; the first one writes.
    """
    weights = _gather_trained(model)
    if process_rank() != 0:
        return
    if config.tuning != "full":
        _replace_folder(
            folder / "adapter", lambda partial: cast(Any, model).save_pretrained(partial, state_dict=weights)
        )
        merged = _merge_adapter(folder / "adapter", config)
    elif weights is None:
        merged = cast(PreTrainedModel, model.to(torch_dtype(config)))
    else:
        merged = _load_base(str(cast(PreTrainedModel, model).name_or_path), config)
        merged.load_state_dict(weights)
    merged.config.use_cache = True

    def write(partial: Path) -> None:
        merged.save_pretrained(partial)
        tokenizer.save_pretrained(partial)

    _replace_folder(folder / "final_model", write)


def _gather_trained(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """The trained weights of a model that FSDP2 shards, whole, on the CPU of the first process; else None."""
    if not any(isinstance(weight, DTensor) for weight in model.parameters()):
        return None
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return cast(dict[str, torch.Tensor], get_model_state_dict(model, options=options))


def _merge_adapter(adapter: Path, config: ExperimentConfig) -> PreTrainedModel:
    from peft import PeftConfig, PeftModel

    base = _load_base(str(PeftConfig.from_pretrained(adapter).base_model_name_or_path), config)
    return cast(PreTrainedModel, PeftModel.from_pretrained(base, adapter).merge_and_unload())


def _load_base(name: str, config: ExperimentConfig) -> PreTrainedModel:
    """What training started from, on the CPU and in `config.dtype`."""
    return _from_pretrained(name, config, dtype=torch_dtype(config), device=torch.device("cpu"), quantization="none")


def _replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def output_head(model: nn.Module) -> nn.Linear:
    """The output head of a causal LM.

    Raises:
        UserError: it is not one plain matrix, so that logits are more than hidden @ weight.T.
    """
    head = cast(Any, model).get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise UserError(f"{type(model).__name__}: its output head is {head}; it must be linear, without bias")
    return head


def logit_transform(model: nn.Module) -> LogitTransform:
    """How the model's logits follow from hidden @ weight.T: what its configuration says, checked on the model itself.

    Raises:
        UserError: a field of the configuration that cannot be honoured, by name; or logits that are made in another way
            than the configuration says, found by running the model on a few tokens.
    """
    transform = declared_transform(cast(PreTrainedModel, model).config)
    hidden, logits = _probe(model)
    ours = transform.apply(output_head(model)(hidden)).float()
    error, size = (ours - logits).abs().amax(-1), logits.abs().amax(-1)  # of each token
    if not bool((error <= 0.02 * size).all()):
        raise UserError(
            f"{type(model).__name__}: its logits are not its output head's product, nor a known scale or "
            "softcap of it; the distillation loss cannot be computed for this architecture"
        )
    return transform


@torch.no_grad()
def _probe(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states and logits (fp32) of a few tokens, each hidden state longer than the one before.

    The longest make logits of tens of thousands: a softcap would not show in the small logits of real tokens.
    """
    hidden: list[torch.Tensor] = []
    tokens = torch.arange(8, device=next(model.parameters()).device)[None]

    def lengthen(module: nn.Module, inputs: object, output: Any) -> Any:
        output.last_hidden_state *= (4.0 ** tokens[..., None]).to(output.last_hidden_state.dtype)
        hidden.append(output.last_hidden_state)
        return output

    decoder: nn.Module = cast(Any, model).get_decoder()
    hook = decoder.register_forward_hook(lengthen)
    try:
        logits = model(input_ids=tokens, use_cache=False).logits
    finally:
        hook.remove()
    return hidden[0], logits.float()


def load_config(name: str, config: ExperimentConfig) -> PreTrainedConfig:
    """The configuration of a model, without its weights.

    Raises:
        UserError: it cannot be loaded.
    """
    hub.expect(name)
    try:
        found = AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError) as error:
        raise UserError(_load_failure(name, config, error)) from error
    return cast(PreTrainedConfig, found)


def vocabulary_size(name: str, config: ExperimentConfig) -> int:
    """Rows of the output head of a model, from its configuration alone.

    Raises:
        UserError: the configuration cannot be loaded.
    """
    return int(load_config(name, config).get_text_config().vocab_size)


def check_topk_fits(config: ExperimentConfig) -> None:
    """Where topk signals are recorded, the ids that both models have must be at least as many as are kept.

    Raises:
        UserError: they are fewer, or a configuration cannot be loaded.
    """
    if config.teacher_signal != "topk":
        return
    shared = min(vocabulary_size(name, config) for name in (config.teacher_model, config.student_model))
    if config.topk > shared:
        raise UserError(
            f"topk={config.topk}: teacher and student share only {shared} ids; set --topk to {shared} at most, or take "
            "--teacher_signal hidden, which is exact"
        )


def check_teacher_covers_student(config: ExperimentConfig) -> None:
    """TRL compares two heads row by row, so the teacher's needs every row of the student's; more can be cut.

    Raises:
        UserError: it has fewer, or a configuration cannot be loaded.
    """
    teacher, student = (vocabulary_size(name, config) for name in (config.teacher_model, config.student_model))
    if teacher < student:
        raise UserError(
            f"teacher_model={config.teacher_model!r}: its output head has {teacher} rows and the student's {student}; "
            "on-policy distillation needs at least as many in the teacher: choose another pair, or --arms sft,kd"
        )


def count_parameters(model: nn.Module) -> int:
    """Number of weights; a tied one counts once, a 4-bit one as the numbers it stands for."""
    return int(cast(Any, model).num_parameters())


def weight_bytes(model: nn.Module) -> int:
    """Bytes that the weights take in memory as loaded, quantisation scales included."""
    return int(cast(Any, model).get_memory_footprint())


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory in use so far: of torch on a CUDA device, of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
