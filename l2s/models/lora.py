"""LoRA on a model: the modules that it adapts, and those that it must not or cannot adapt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from l2s.config import ExperimentConfig
from l2s.errors import UserError, words_of

ALL_LINEAR = "all-linear"
# Beside a conv1d these are parts of Mamba. Its CUDA kernels read their weights and do not call the modules, so LoRA on
# them would learn nothing.
READ_BY_KERNELS = ("x_proj", "dt_proj", "out_proj")


def add_lora(model: PreTrainedModel, config: ExperimentConfig) -> nn.Module:
    """Put LoRA on the modules that `lora_target_modules` names.

    Raises:
        UserError: there is no such module, or LoRA cannot adapt one; names modules that it can.
    """
    from peft import LoraConfig, get_peft_model

    names = [name.strip() for name in config.lora_target_modules.split(",")]
    _check_targets(model, names)
    fix = _fix(model)  # before PEFT changes the model
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=ALL_LINEAR if names == [ALL_LINEAR] else names,
    )
    torch.manual_seed(config.seed)  # the adapter's initial weights are random
    try:
        return cast(nn.Module, get_peft_model(model, lora))
    except ValueError as error:
        reason = re.sub(r"^\[PEFT:[^]]*\] ", "", words_of(error)).split(". ")[0].rstrip(".")
        raise UserError(f"lora_target_modules={config.lora_target_modules!r}: {reason}; {fix}") from error


def _check_targets(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Refuse the output head, embeddings that are also the output head, and linear layers that return something else.

    As in PEFT, a name matches every module whose path ends with it.
    """
    _check_names(model, names)
    head, embeddings = cast(Any, model).get_output_embeddings(), cast(Any, model).get_input_embeddings()
    for path, module in model.named_modules():
        if names == [ALL_LINEAR]:
            name = ALL_LINEAR if isinstance(module, nn.Linear | Conv1D) and module is not head else None
        else:
            name = next((name for name in names if _is_named(path, name)), None)
        if name is None:
            continue
        if module is head:
            raise UserError(
                f"lora_target_modules: leave out {name!r}, which is the output head; the loss needs it as one matrix"
            )
        if module is embeddings and embeddings.weight is head.weight:
            raise UserError(
                f"lora_target_modules: leave out {name!r}; the embeddings of this model are its output head as well, "
                "and the loss needs that as one matrix"
            )
        if not _returns_products(module):
            raise UserError(
                f"lora_target_modules={','.join(names)!r}: LoRA cannot adapt {path} ({type(module).__name__}), which "
                f"returns more than the products of a linear layer; {_fix(model)}"
            )


def _check_names(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Refuse names that PEFT would drop silently beside others: those of no module, and all-linear."""
    field = f"lora_target_modules={','.join(names)!r}"
    if names == [ALL_LINEAR]:
        return
    if ALL_LINEAR in names:
        raise UserError(f"{field}: {ALL_LINEAR} stands alone; leave out the other names, or leave out {ALL_LINEAR}")
    paths = [path for path, _ in model.named_modules()]
    if missing := [name for name in names if not any(_is_named(path, name) for path in paths)]:
        which = ", ".join(map(repr, missing))
        raise UserError(f"{field}: no module of this model is named {which}; {_fix(model)}")


def _is_named(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _returns_products(module: nn.Module) -> bool:
    """Whether a linear layer of a model's own kind returns what a linear layer returns; a router may return more.

    LoRA adds to what the layer returns. Only a layer on the meta device is tried, which is what preflight has: a loaded
    weight may be a shard or packed.
    """
    if not isinstance(module, nn.Linear) or type(module).forward is nn.Linear.forward or not module.weight.is_meta:
        return True
    row = torch.empty(1, module.in_features, dtype=module.weight.dtype, device="meta")
    try:
        with torch.no_grad():
            found = module(row)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    return isinstance(found, Tensor) and found.shape == (1, module.out_features)


def _fix(model: PreTrainedModel) -> str:
    """What to do instead of LoRA on a module that it cannot adapt."""
    names = list(dict.fromkeys(_adaptable(model)))
    return (f"take --lora_target_modules {','.join(names)}, or " if names else "take ") + "--tuning full"


def _adaptable(model: PreTrainedModel) -> Iterator[str]:
    """The last part of the path of each linear layer that LoRA can adapt."""
    head, modules = cast(Any, model).get_output_embeddings(), dict(model.named_modules())
    for path, module in modules.items():
        place, _, name = path.rpartition(".")
        linear = isinstance(module, nn.Linear | Conv1D) and module is not head and _returns_products(module)
        by_kernels = name in READ_BY_KERNELS and f"{place}.conv1d" in modules
        if linear and not by_kernels and not name.isdigit():
            yield name
