"""Save a trained student: its adapter, and final_model with plain weights that any library loads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import GENERATION_CONFIG_NAME
from transformers.utils.hub import cached_file

from l2s.config import ExperimentConfig
from l2s.devices import process_rank, torch_dtype
from l2s.durable import replacing_folder
from l2s.models.load import load_base
from l2s.models.zero import gather_masters, is_zero
from l2s.run_dir import ArmDir

PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
HOW_LOADED = ("is_local", "local_files_only")  # what transformers would save of where a tokenizer came from


def save_trained_student(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    config: ExperimentConfig,
    *,
    ends: Sequence[int] = (),
) -> None:
    """Write folder/final_model, and folder/adapter if LoRA was trained. A kill leaves no half-written final_model.

    final_model holds plain weights of `config.dtype` without quantisation, the generation config and the tokenizer. An
    adapter is merged into newly loaded base weights, because NF4 weights have lost precision. Every rank of a training
    calls this; rank 0 writes. `ends` are the tokens that end an answer, the student's own first.

    With `merge_weight` below 1, final_model holds that share of the change from the weights that training started from
    (Wortsman et al. 2022, arXiv 2109.01903). The adapter is as it was trained.
    """
    weights = _gather_trained(model)
    if process_rank() != 0:
        return
    if config.tuning != "full":
        with replacing_folder(ArmDir(folder).adapter) as partial:
            cast(Any, model).save_pretrained(partial, state_dict=weights)
        merged = _merge_adapter(ArmDir(folder).adapter, None, config)
    else:
        merged = _merge_whole(cast(PreTrainedModel, model), weights, config)
    declare_ends(merged, ends)
    _replace_final_model(merged, tokenizer, folder)


def write_merged_again(adapter: Path, base: str, former: Path, folder: Path, config: ExperimentConfig) -> None:
    """Write to `folder` what `former` holds, but with the weights of `base` and `merge_weight` of the adapter's change.

    Raises:
        UserError: `base` cannot be loaded.
    """
    _save_whole(_merge_adapter(adapter, base, config), folder)
    for file in folder.iterdir():
        if not any(file.match(pattern) for pattern in WEIGHTS):
            file.unlink()
    shutil.copytree(former, folder, ignore=shutil.ignore_patterns(*WEIGHTS), dirs_exist_ok=True)


def _replace_final_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    model.config.use_cache = True
    with replacing_folder(ArmDir(folder).final_model) as partial:
        _save_whole(model, partial)
        for name in HOW_LOADED:
            tokenizer.init_kwargs.pop(name, None)
        tokenizer.save_pretrained(partial)


def _save_whole(model: PreTrainedModel, folder: Path) -> None:
    """Save a model with its generation config as it is.

    transformers refuses to save some that it loads, such as a temperature without do_sample, with which many models are
    published. After hours of training that would be too late.
    """
    settings, source = model.generation_config, str(model.name_or_path)
    model.generation_config = GenerationConfig()
    try:
        model.save_pretrained(folder)
    finally:
        model.generation_config = settings
    if model.config.get_text_config() is not model.config:
        _copy_processors(source, folder)
    if settings is not None:
        settings.to_json_file(folder / GENERATION_CONFIG_NAME, keys_to_pop=["compile_config"])


def _copy_processors(name: str, folder: Path) -> None:
    """Copy what prepares images and sound for a model beside text: vLLM does not load such a model without it."""
    for file in PROCESSORS:
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found:
            shutil.copyfile(found, folder / file)


def declare_ends(model: PreTrainedModel, ends: Sequence[int]) -> None:
    """Make generation stop at every token that ends an answer in training; base models often stop later."""
    settings = model.generation_config
    if settings is None:
        return
    found = settings.eos_token_id
    declared = found if isinstance(found, list) else [] if found is None else [found]
    if not set(ends) <= set(declared):
        settings.eos_token_id = list(dict.fromkeys([*ends, *declared]))


def _gather_trained(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """The full trained weights of a model that FSDP2 or ZeRO shards, on the CPU of rank 0; None if it is whole."""
    if is_zero(model):
        return gather_masters(model, tied=True)
    if not any(isinstance(weight, DTensor) for weight in model.parameters()):
        return None
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return cast(dict[str, torch.Tensor], get_model_state_dict(model, options=options))


def _merge_adapter(adapter: Path, base: str | None, config: ExperimentConfig) -> PreTrainedModel:
    """The weights of `base`, None: those that the adapter names, with `merge_weight` of the adapter's change."""
    from peft import PeftConfig, PeftModel
    from peft.tuners.lora import LoraLayer

    name = base or str(PeftConfig.from_pretrained(adapter).base_model_name_or_path)
    trained = PeftModel.from_pretrained(load_base(name, config), adapter)
    for module in trained.modules():
        if isinstance(module, LoraLayer):  # its own scale_layer passes over adapters of embeddings
            module.scaling.update({name: config.merge_weight * scale for name, scale in module.scaling.items()})
    return cast(PreTrainedModel, trained.merge_and_unload())


@torch.no_grad()
def _merge_whole(
    model: PreTrainedModel, weights: dict[str, torch.Tensor] | None, config: ExperimentConfig
) -> PreTrainedModel:
    """The model with all its trained weights; `weights` are those of a sharded one.

    A share of the change is computed before the trained weights are rounded to `config.dtype`.
    """
    if config.merge_weight == 1 and weights is None:
        return cast(PreTrainedModel, cast(Any, model).to(torch_dtype(config)))
    merged = load_base(str(model.name_or_path), config)
    trained = model.state_dict() if weights is None else weights
    if config.merge_weight == 1:
        merged.load_state_dict(trained)
        return merged
    for name, parameter in merged.named_parameters():  # each tied weight once
        if name in trained:
            goal = trained[name].to(parameter.device, torch.float32)
            parameter.copy_(parameter.float().lerp(goal, config.merge_weight))
    return merged
