"""What each stage measures and its manifest keeps.

No key is required: a replica other than the first measures nothing, and manifests of early versions lack some keys.
"""

from __future__ import annotations

from typing import TypedDict

from l2s.warning import Warned


class EngineMetric(TypedDict):
    """The engine that ran a model, its package's version, and why this one."""

    name: str
    version: str | None
    reason: str


Try = TypedDict("Try", {"try": int, "asked": int, "correct": int})  # graded answers of one try, and the right ones


class PrepareMetrics(TypedDict, total=False):
    """Stage `prepare`."""

    train: dict[str, int]  # domain/source -> items
    eval: dict[str, int]
    controls: dict[str, dict[str, float]]  # domain -> answer that needs no understanding -> its mean score


class GenerateMetrics(TypedDict, total=False):
    """Stage `generate`."""

    num_responses: int
    num_rejected: int
    num_tokens: int
    truncated: int
    unclosed_thinking: int
    mean_score: dict[str, float]  # by domain, of the graded answers
    tries: list[Try]
    warnings: list[Warned]
    engine: EngineMetric
    tokens_per_second: float | None
    peak_memory_bytes: int | None


class ScoreMetrics(TypedDict, total=False):
    """Stage `score`."""

    num_sequences: int
    num_tokens: int
    bytes: int
    seconds: float
    recorded_tokens: int
    engine: EngineMetric
    tokens_per_second: float | None
    peak_memory_bytes: int | None


class TrainingCost(TypedDict, total=False):
    """What the training of any arm took."""

    steps: int
    seconds: float
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    final_loss: float
    ranks: int
    sharding: str
    global_batch: int


class SftMetrics(TrainingCost, total=False):
    """Stage `sft`; the counts are those of l2s.sequences.SequenceCounts."""

    num_sequences: int
    held_out: int
    dropped_overlong: int
    cut_overlong: int
    tokenised_text: int
    num_tokens: int


class TopkMetrics(TypedDict, total=False):
    """The check of top-k signals; as l2s.signals.topk.TopkCheck."""

    topk_tail_mass: float
    topk_divergence_error: float
    topk_divergence_bias: float
    topk_gradient_cosine: float
    topk_gradient_cosine_p5: float
    warnings: list[Warned]


class KdMetrics(SftMetrics, TopkMetrics, total=False):
    """Stage `kd`; the check is made of top-k signals alone."""


class OpdMetrics(TrainingCost, total=False):
    """Stage `opd`."""

    num_prompts: int
    dropped_overlong: int
    num_tokens: int


class EvaluationMetrics(TypedDict, total=False):
    """Stages `evaluate_<model>`."""

    engine: EngineMetric
    parameters: int | None
    weight_bytes: int | None
    peak_memory_bytes: int | None
    generated_tokens: int
    seconds: float
    tokens_per_second: float | None
    unclosed_thinking: int
    sandbox: str | None


class HarnessMetrics(TypedDict, total=False):
    """Stages `lm_eval_<model>`."""

    harness: str  # version
    task_versions: dict[str, str | float | None]


class ReportMetrics(TypedDict, total=False):
    """Stage `report`."""

    models: list[str]
    html_bytes: int
    warnings: list[Warned]


class StageMetrics(
    PrepareMetrics,
    GenerateMetrics,
    ScoreMetrics,
    KdMetrics,
    OpdMetrics,
    EvaluationMetrics,
    HarnessMetrics,
    ReportMetrics,
    total=False,
):
    """The metrics of a manifest whose stage is not known to the type checker."""
