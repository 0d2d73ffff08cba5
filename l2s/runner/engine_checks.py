"""Checks of the engine before anything is loaded: it is installed, fits the quantisation, and has all it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from l2s.arms import original
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.errors import UserError, field_with_url, require_extra, shown
from l2s.generation.engines.table import choose_engine
from l2s.runner.pipeline import Stage

IN_TRAINER = ("kd", "opd")  # stages that hold the teacher beside the student, in transformers
VLLM_ONLY = ("fp8", "awq", "gptq")
BITSANDBYTES = ("int8", "nf4")
OF_ENDPOINT = ("teacher_endpoint", "endpoint_model", "endpoint_body")  # what is asked, and not how


def check_engine(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Check the engine against the other settings; nothing is loaded.

    Raises:
        UserError: it is not installed, cannot hold the teacher as asked, or lacks a URL.
    """
    if config.engine_of_weights == "vllm":
        require_extra("vllm", "vllm", f"{engine_flag(config).strip('-')}='vllm'")
    if config.engine != "endpoint" and config.weights_engine != "auto":
        raise UserError(
            f"weights_engine={config.weights_engine!r}: used by --engine endpoint alone; without an endpoint, --engine "
            "names the engine of all stages"
        )
    if config.engine == "endpoint":
        from l2s.generation.engines.endpoint_client import check_endpoint

        check_endpoint(config)
    else:
        _check_without_endpoint(config)
    check_engine_fits(config, stages)


def _check_without_endpoint(config: ExperimentConfig) -> None:
    for field in OF_ENDPOINT:
        value = getattr(config, field)
        if value != ExperimentConfig.model_fields[field].default:
            named = field_with_url(field, value) if field == "teacher_endpoint" else f"{field}={shown(value)}"
            raise UserError(f"{named}: used by --engine endpoint alone; add that flag, or leave this one out")


def engine_flag(config: ExperimentConfig) -> str:
    """The flag that chooses the engine of stages which hold weights."""
    return "--weights_engine" if config.engine == "endpoint" else "--engine"


def check_engine_fits(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Check that the engine of the teacher's weights, installed or not, can hold them as `teacher_quantization` says.

    Raises:
        UserError: it cannot.
    """
    if not any("teacher" in stage.resources.holds for stage in stages):
        return
    kind = config.teacher_quantization
    field, flag = f"teacher_quantization={kind!r}", engine_flag(config)
    engine = choose_engine(config, weights=True)
    if kind in BITSANDBYTES and engine.name == "vllm":
        raise UserError(f"{field}: made by bitsandbytes, in transformers; with vLLM take fp8, or {flag} transformers")
    if kind not in VLLM_ONLY:
        return
    if engine.name != "vllm":
        raise UserError(f"{field}: needs vLLM, and the engine is {engine}; use {flag} vllm, or int8 or nf4")
    live = [stage.name for stage in stages if stage.original in IN_TRAINER and "teacher" in stage.resources.holds]
    live = [name for name in live if original(name) == "opd" or config.teacher_signal == "online"]
    if live:
        raise UserError(
            f"{field}: stage {live[0]} holds the teacher in the trainer, where vLLM cannot be used; take int8 or nf4, "
            "or --teacher_signal hidden without the arm opd"
        )
    if kind == "fp8" and config.device == "cpu":
        raise UserError(f"{field}: needs a CUDA device; leave it out with --device cpu")


def check_quantization(config: ExperimentConfig) -> None:
    """Check the teacher's checkpoint against `teacher_quantization`, from its configuration alone.

    Raises:
        UserError: awq or gptq for a checkpoint of another kind, bitsandbytes for a mixture of experts, or a split that
            the model does not allow.
    """
    from l2s.models.stored import attention_heads, num_experts, quantization_method

    kind, field = config.teacher_quantization, f"teacher_quantization={config.teacher_quantization!r}"
    made = quantization_method(config.teacher_model, config)
    if kind in ("awq", "gptq") and made != kind:
        what = f"is quantised by {made}" if made else "holds plain weights"
        raise UserError(f"{field}: {config.teacher_model} {what}; name a checkpoint made by {kind}, or take fp8")
    if kind not in ("none", "awq", "gptq") and made not in (None, kind):
        raise UserError(f"{field}: {config.teacher_model} is quantised by {made} already; leave the flag out")
    if kind in BITSANDBYTES and (experts := num_experts(config.teacher_model, config)):
        raise UserError(
            f"{field}: {config.teacher_model} is a mixture of {experts} experts a layer, which bitsandbytes leaves in "
            f"bfloat16: next to nothing would be saved; take --teacher_quantization fp8 with {engine_flag(config)} vllm"
        )
    heads = attention_heads(config.teacher_model, config)
    if config.teacher_gpus and heads % config.teacher_gpus:
        raise UserError(
            f"teacher_gpus={config.teacher_gpus}: {config.teacher_model} has {counted(heads, 'attention head')}, "
            f"which cannot be shared equally; give a divisor of {heads}"
        )


@contextmanager
def why_weights(field: str, config: ExperimentConfig) -> Iterator[None]:
    """Add to an error about missing teacher weights that an endpoint cannot replace them."""
    try:
        yield
    except UserError as error:
        if field != "teacher_model" or config.engine != "endpoint":
            raise
        raise UserError(
            f"{error}; the endpoint only gives answers: KD needs the teacher's weights for scoring, so let "
            "--teacher_model name them (and --endpoint_model what the server calls it), or use --arms sft"
        ) from None
