"""Checks of one model before any weights are loaded: can it be read, trained and asked as this run needs?

They use its configuration, its tokenizer, and a copy of it on the meta device, which has shapes and no memory.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.quantizers.auto import AutoHfQuantizer

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig, ModelField
from l2s.counted import counted
from l2s.devices import pick_device, torch_dtype
from l2s.errors import UserError
from l2s.generation.engines.table import choose_engine
from l2s.loss.logit_transform import declared_transform
from l2s.models.head import decoder_of, output_head
from l2s.models.load import load_config, prepare_for_training, quantised_by
from l2s.models.stored import context_window, empty_model

TRAINING = ("sft", "kd", "opd")
READS_ANSWERS = ("score", *TRAINING)


def check_weights(field: ModelField, config: ExperimentConfig, stages: Set[str]) -> None:
    """Check the model that `field` names, from its configuration, for the stages of these names.

    Raises:
        UserError: names the field, the value and the fix.
    """
    found = load_config(getattr(config, field), config)
    check_quantisation(field, config, stages, found)
    check_window(field, config, stages, found)
    if any(stage in READS_ANSWERS or stage.startswith("evaluate_") for stage in stages):  # these stages compute logits
        declared_transform(found)
        check_head(field, config, stages)


def check_quantisation(field: ModelField, config: ExperimentConfig, stages: Set[str], found: PreTrainedConfig) -> None:
    """Check that a checkpoint published in quantised form can be read here, and that the student can be trained."""
    method, name = quantised_by(found), getattr(config, field)
    if method is None:
        return
    by_vllm = field == "teacher_model" and choose_engine(config, weights=True).name == "vllm"
    if not by_vllm:
        _check_readable(field, name, config, found)
    if field == "student_model" and not stages.isdisjoint(TRAINING):
        _check_trainable(name, method, config, found)


def _check_readable(field: str, name: str, config: ExperimentConfig, found: PreTrainedConfig) -> None:
    declared: Any = found.quantization_config
    try:
        reader = AutoHfQuantizer.from_config(
            dict(declared) if isinstance(declared, dict) else declared, pre_quantized=True
        )
        reader.validate_environment(device_map={"": pick_device(config)}, dtype=torch_dtype(config))
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{field}={name!r}: its weights are quantised ({quantised_by(found)}) and cannot be read here: "
            f"{' '.join(str(error).split())}; install what is missing, or give a checkpoint with plain weights"
        ) from error


def _check_trainable(name: str, method: str, config: ExperimentConfig, found: PreTrainedConfig) -> None:
    declared: Any = found.quantization_config
    in_4_bits = method == "bitsandbytes" and dict(declared).get("load_in_4bit", False)
    if not in_4_bits:
        raise UserError(
            f"student_model={name!r}: its weights are quantised ({method}) and cannot be trained; give the checkpoint "
            "with plain weights that it was made from"
        )
    if config.tuning != "qlora":
        raise UserError(
            f"tuning={config.tuning!r}: the weights of student_model={name!r} are in 4 bits (bitsandbytes); set "
            "--tuning qlora, or give the checkpoint with plain weights that it was made from"
        )


def check_tokenizer(field: ModelField, config: ExperimentConfig, renderer: ChatRenderer) -> None:
    """Check that every token has a row in the embeddings, that the model sees what it is asked, and how it thinks.

    Raises:
        UserError: names the field, the value and the fix.
    """
    name = getattr(config, field)
    rows = int(load_config(name, config).get_text_config().vocab_size)
    tokenizer = renderer.tokenizer
    used = {renderer.pad_token_id, renderer.end_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
    added = tokenizer.added_tokens_decoder
    above = {
        token: number
        for token, number in renderer.vocabulary().items()
        if number >= rows and (number in used or number not in added)
    }
    if above:
        token = min(above, key=lambda text: above[text])
        raise UserError(
            f"{field}={name!r}: {counted(len(above), 'token')} of its tokenizer above the {rows} rows of the "
            f"embeddings, {token!r} with id {above[token]} the first; use the tokenizer that came with the model, or "
            "enlarge the model with resize_token_embeddings and save it again"
        )
    renderer.prompt_ids([{"role": "user", "content": "?"}])  # the template's own tokens
    said = "QUESTION"
    if said not in renderer.prompt_text([{"role": "user", "content": said}]):
        raise UserError(
            f"{field}={name!r}: its chat template leaves out the text of a user turn, which it may expect as a list of "
            "parts; change the chat_template beside the model so that it writes message.content, or take another model"
        )
    if renderer.opening and not renderer.thinking:
        raise UserError(
            f"thinking='off': the chat template of {field}={name!r} opens {renderer.opening.strip()} anyway; set "
            "--thinking on, or choose another model"
        )


def check_window(field: str, config: ExperimentConfig, stages: Set[str], found: PreTrainedConfig) -> None:
    """Check that the longest sequence of this run fits the model's context window."""
    window = context_window(found)
    if window is None:
        return
    name = getattr(config, field)
    setting = "max_new_tokens" if stages.isdisjoint(READS_ANSWERS) else "max_length"
    value, most = getattr(config, setting), window if setting == "max_length" else window - 1
    if value > most:
        raise UserError(
            f"{setting}={value}: {field}={name!r} has a context window of {window} tokens (max_position_embeddings); "
            f"set --{setting} {most} at most, or choose another model"
        )


def check_head(field: str, config: ExperimentConfig, stages: Set[str]) -> None:
    """Check that the output head is one plain matrix, and that LoRA and gradient checkpointing fit the student."""
    name = getattr(config, field)
    model = empty_model(name, config)
    try:
        output_head(model)
        decoder_of(model)
    except UserError as error:
        raise UserError(f"{field}={name!r}: {error}; choose another model") from None
    if field == "student_model" and not stages.isdisjoint(TRAINING):
        with torch.device("meta"):
            prepare_for_training(model, config)
