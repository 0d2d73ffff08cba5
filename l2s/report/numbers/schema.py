"""The shape of results.json, one class for each object. Rates and scores are 0..1, times seconds, KL nats per token."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from l2s.metrics import StageMetrics

Bounds = list[float]  # [low, high] of a 95% interval
Verdict = Literal["higher", "lower", "no detectable difference"]


class DomainResult(TypedDict):
    """The results of one model on the evaluation items of one domain."""

    main_metric: float | None  # None where answers of this domain are not graded
    metric: str
    n: int
    ci95: Bounds | None
    statuses: dict[str, int]
    truncated: int  # answers cut at max_new_tokens, or inside a <think> that they never closed
    no_answer: int  # answers in which the grader found no answer
    mean_tokens: float
    also: dict[str, float]  # further verdict of the grader -> share of items on which it holds
    also_ci95: dict[str, Bounds]


class ModelEvaluation(TypedDict):
    """All domains of one model; a domain without items is absent."""

    domain_results: dict[str, DomainResult]


class Contrast(TypedDict):
    """One declared comparison of two models on the same items: model - reference."""

    domain: str
    model: str
    reference: str
    difference: float
    ci95: Bounds | None  # None: the KL of a single answer has no interval
    p_value: float
    p_holm: float  # adjusted for the contrasts of this domain
    test: str
    n: int
    units: int  # what was resampled: items or clusters
    wins: int
    losses: int
    minimum_detectable_difference: float | None  # with 80% power; None: no difference could have been shown
    verdict: Verdict


class SeedSpread(TypedDict):
    """The scores of one arm that was trained with several seeds; those not yet evaluated are left out."""

    domain: str
    model: str
    seeds: list[int]
    scores: list[float]  # mean score of each seed
    mean: float
    sd: float  # between seeds; divided by their number less 1
    low: float
    high: float
    n: int  # items
    ci95: Bounds  # of the first seed, over items alone
    difference: float | None  # from the base student, mean over seeds; None where it was not evaluated
    difference_ci95: Bounds | None  # includes the variation between seeds


class Gap(TypedDict):
    """Share of the teacher's lead over the base student that a model recovered; None where no lead is detectable."""

    domain: str
    model: str
    recovered: float | None
    ci95: Bounds | None
    teacher_lead: float
    teacher_lead_ci95: Bounds


class FidelityInterval(TypedDict):
    """Bounds of the three measures."""

    mean_kl: Bounds
    top1_agreement: Bounds
    perplexity: Bounds


class Fidelity(TypedDict):
    """How close a model's distribution is to the teacher's on the teacher's evaluation answers."""

    mean_kl: float
    top1_agreement: float
    perplexity: float
    ci95: FidelityInterval | None  # None: a single answer has none
    n: int
    num_tokens: int
    domains: NotRequired[dict[str, Fidelity]]


class HarnessRow(TypedDict):
    """One value that lm-evaluation-harness measured, with the columns of its table."""

    task: str  # or group of tasks
    alias: str  # as the harness shows it
    version: str | float | None
    filter: str
    num_fewshot: int | None
    items: int | None  # None for a group
    metric: str
    higher_is_better: bool | None
    value: float | str
    stderr: float | None


class Harness(TypedDict):
    """The results of lm-evaluation-harness for one model."""

    version: str  # version of the package
    limit: int | None  # number of items of each task; None: all
    rows: list[HarnessRow]


class ModelCost(TypedDict):
    """Size and speed, measured during the evaluation. None: the engine cannot tell."""

    engine: str
    parameters: int | None
    weight_bytes: int | None
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    generated_tokens: int
    seconds: float


class Ratios(TypedDict):
    """Compared with the teacher: above 1 means smaller or faster. None: not measured, or measured elsewhere."""

    parameters: float | None
    weight_bytes: float | None
    tokens_per_second: float | None
    peak_memory_bytes: float | None


class StageCost(TypedDict):
    """What a stage cost; measures that it did not report are None."""

    seconds: float
    tokens: int | None
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    device: str
    metrics: StageMetrics  # metrics of the stage, without its warnings


class HealthFigure(TypedDict):
    """A figure of on-policy distillation over its updates; l2s.training.on_policy says what each measures."""

    figure: str
    sampled_before: float | None  # on a few answers before the first update; None where it was not measured
    first: float  # mean of the first updates
    last: float
    low: float  # over all updates
    high: float


class Leak(TypedDict):
    """An evaluation item and the training item that holds it or a part of it."""

    eval_id: str
    train_id: str
    ngram: str | None  # the shared run of 13 words; None where the whole problem is the same
    share: float  # share of the evaluation item's 13-grams


class Overlap(TypedDict):
    """Overlap of one domain's evaluation items with the training data."""

    train_items: int
    eval_items: int
    duplicates: list[Leak]  # the same problem but for case, punctuation and spaces
    ngram_overlaps: list[Leak]  # counts the other items


class Gpu(TypedDict):
    """One GPU that a stage could see."""

    name: str
    memory_bytes: int


class Machine(TypedDict):
    """A machine that ran stages."""

    cpu: str
    cores: int
    threads: int  # logical processors
    usable_threads: int  # cores that the stages were allowed to use
    memory_bytes: int
    os: str
    gpus: list[Gpu]
    bf16_units: NotRequired[list[str]]  # bfloat16 units of the CPU; early versions recorded none


class Environment(TypedDict):
    """The hardware and software that the stages ran on."""

    versions: dict[str, str]
    devices: list[str]
    machines: list[Machine]  # empty for early versions, which recorded none
    git_commits: list[str]
    sandbox: str | None  # backend that ran model-written code; None: no code was run
    started_at: str | None
    seconds: float


class Prediction(TypedDict):
    """The plan's prediction for a stage. Memory is that of one device; 0 if the stage holds no model."""

    seconds: float
    memory_bytes: float


class Results(TypedDict):
    """results.json."""

    experiment_name: str
    evaluation: dict[str, ModelEvaluation]
    sources: dict[str, list[str]]  # domain -> where its evaluation items come from
    controls: dict[str, dict[str, float]]  # domain -> control (an answer without understanding) -> its mean score
    comparisons: list[Contrast]
    gap_recovered: list[Gap]
    seeds: list[SeedSpread]  # empty if no arm was trained with two seeds
    fidelity: dict[str, Fidelity]
    fidelity_comparisons: list[Contrast]  # contrasts of the mean KL; lower is closer to the teacher
    lm_eval: dict[str, Harness]  # empty if lm_eval_tasks was empty
    models: dict[str, ModelCost]
    ratios: dict[str, Ratios]
    stages: dict[str, StageCost]
    predicted: dict[str, Prediction]  # stage -> prediction before the run; empty without a plan
    disk_bytes: dict[str, int]  # folder of the run -> size
    curves: dict[str, list[dict[str, float]]]  # sft, kd, opd -> logged steps
    heldout_curves: dict[str, list[dict[str, float]]]  # sft, kd -> loss on held-out answers at some of these steps
    never_right: dict[str, list[str]]  # domain -> ids of the training items that no answer of the teacher gets right
    opd_health: list[HealthFigure]  # empty without on-policy distillation
    contamination: dict[str, Overlap]
    warnings: list[str]
    config: dict[str, Any]
    environment: Environment
