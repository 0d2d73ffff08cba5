"""What each stage measures and stores in its manifest.

No key is required: replicas other than the first measure nothing, and manifests of early versions lack some keys.
"""

from __future__ import annotations

from typing import TypedDict

from l2s.warning import Warned


class EngineMetric(TypedDict):
    """The engine that ran a model, its package's version, and the reason for the choice."""

    name: str
    version: str | None
    reason: str


Try = TypedDict("Try", {"try": int, "asked": int, "correct": int})  # graded answers of one try, and the correct ones


class Curation(TypedDict):
    """What became of the teacher's answers in one domain; l2s.generation.curation."""

    items: int  # asked
    answers: int  # learned from
    unusable: int  # empty, wrong, or giving away what only the teacher was shown
    duplicates: int  # the same working as another answer to the item
    outliers: int  # far longer than the domain's other answers
    difficulty: list[int]  # graded items with no right answer, right ones below half, half or more, all


class PrepareMetrics(TypedDict, total=False):
    """Stage `prepare`."""

    train: dict[str, int]  # domain/source -> items
    eval: dict[str, int]
    warnings: list[Warned]
    controls: dict[str, dict[str, float]]  # domain -> control (an answer without understanding) -> its mean score


class GenerateMetrics(TypedDict, total=False):
    """Stage `generate`."""

    num_responses: int
    num_rejected: int
    num_tokens: int
    truncated: int
    unclosed_thinking: int
    mean_score: dict[str, float]  # by domain, over the graded answers
    tries: list[Try]
    curation: dict[str, Curation]
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
    """Cost of the training of any arm."""

    steps: int
    seconds: float
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    final_loss: float
    merge_weight: float
    ranks: int
    sharding: str
    global_batch: int


class SftMetrics(TrainingCost, total=False):
    """Stage `sft`; the counts are those of l2s.sequences.SequenceCounts."""

    num_sequences: int
    held_out: int
    dropped_overlong: int
    cut_overlong: int
    dropped_empty: int
    tokenised_text: int
    num_tokens: int
    warnings: list[Warned]


class TopkMetrics(TypedDict, total=False):
    """The check of top-k signals; see l2s.signals.topk.TopkCheck."""

    topk_tail_mass: float
    topk_divergence_error: float
    topk_divergence_bias: float
    topk_gradient_cosine: float
    topk_gradient_cosine_p5: float
    warnings: list[Warned]


class KdMetrics(SftMetrics, TopkMetrics, total=False):
    """Stage `kd`; the keys of the check exist for top-k signals only."""


class FirstTurns(TypedDict):
    """Answers that the student gave before the first update of OPD; l2s.training.end_of_turn."""

    asked: int
    cut: int  # at opd_max_new_tokens
    mean_length: float  # in tokens


class OpdMetrics(TrainingCost, total=False):
    """Stage `opd`."""

    num_prompts: int
    dropped_overlong: int
    num_tokens: int
    first_turns: FirstTurns
    warnings: list[Warned]


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
    batch_sizes: list[int]  # prompts answered together: several where memory ran out, none where vLLM batches
    warnings: list[Warned]  # of the items, by the first model that is asked


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
    """The metrics of any stage, where the type checker does not know which one."""
