"""ExperimentConfig: every setting of an experiment, once. A field is a command-line flag and a YAML key.

Only pydantic and PyYAML are imported here, so a wrong value is reported before anything heavy is loaded.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from l2s.arms import ARMS
from l2s.errors import UserError, plain, shown
from l2s.jsonl import SURROGATE
from l2s.loss.divergences import DIVERGENCES, ON_POLICY_BETA
from l2s.presets import PRESETS
from l2s.yaml_file import read_settings

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Tuning = Literal["qlora", "lora", "full"]
Dtype = Literal["bfloat16", "float32"]
Quantization = Literal["none", "int8", "nf4", "fp8", "awq", "gptq"]
TRACKERS = {  # trackers that transformers reports to, and the package that each needs
    "azure_ml": "azureml", "clearml": "clearml", "codecarbon": "codecarbon", "comet_ml": "comet_ml",
    "dagshub": "dagshub", "dvclive": "dvclive", "flyte": "flytekit", "kubeflow": "kubeflow", "mlflow": "mlflow",
    "neptune": "neptune", "swanlab": "swanlab", "tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb",
}  # fmt: skip
Engine = Literal["auto", "vllm", "transformers", "endpoint"]
Sharding = Literal["auto", "ddp", "fsdp2", "zero2", "zero3"]
TeacherSignal = Literal["hidden", "topk", "online"]


@dataclass(frozen=True)
class OneOf:
    """Accepts a key of `table`, so a new row of the table is a new value of the field."""

    table: Collection[str]

    def __call__(self, value: str) -> str:
        """`value`, or a ValueError that lists the table."""
        if value not in self.table:
            raise ValueError(f"must be one of {', '.join(self.table)}")
        return value


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that a field accepts; empty where it is not a choice among names."""
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    tables = [part.func.table for part in field.metadata if isinstance(getattr(part, "func", None), OneOf)]
    return tuple(name for table in tables for name in table)


LISTS = ("arms", "domains", "seeds", "gpus", "report_to", "lora_target_modules", "lm_eval_tasks")


def names_in(value: str) -> list[str]:
    """The names in a comma-separated text.

    Raises:
        ValueError: one stands twice.
    """
    named = [name.strip() for name in value.split(",")]
    if twins := [name for name in named if name and named.count(name) > 1]:
        raise ValueError(f"names {plain(twins[0])} twice; leave one out")
    return named


Divergence = Annotated[str, AfterValidator(OneOf(DIVERGENCES))]
OnPolicyDivergence = Annotated[str, AfterValidator(OneOf(ON_POLICY_BETA))]


class ExperimentConfig(BaseModel):
    """All settings of one experiment; immutable. Sizes count rows, lengths count tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    # What to run
    experiment_name: str = Field(
        "default", description="name of the experiment; its folder under output_dir holds all results"
    )
    arms: str = Field("sft,kd", description="students that run_all trains and evaluates, comma-separated: sft, kd, opd")
    run_all: bool = Field(False, description="run all stages for the arms, from the data to the report")
    run_prepare: bool = Field(False, description="write the training and evaluation datasets")
    run_generate: bool = Field(False, description="prepare the data and generate the teacher's answers")
    run_score: bool = Field(
        False, description="record the teacher's hidden states or top-k logits on its answers, for KD"
    )
    run_sft: bool = Field(False, description="train the student on the teacher's answers (SFT)")
    run_kd: bool = Field(False, description="train the student on the teacher's distribution (KD)")
    run_opd: bool = Field(
        False, description="train the student on its own answers by the teacher's distribution (OPD; needs TRL)"
    )
    run_eval: bool = Field(False, description="evaluate the models of this experiment and write the report")

    # Models
    teacher_model: str = Field(
        "Qwen/Qwen3-30B-A3B-Instruct-2507", min_length=1, description="hub name or folder of the teacher"
    )
    student_model: str = Field("Qwen/Qwen3-8B", min_length=1, description="hub name or folder of the student")
    teacher_quantization: Quantization = Field(
        "none", description="quantization of the teacher's weights; fp8, awq and gptq need vLLM"
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="type of weights and activations; auto: bfloat16 if the hardware computes it, else float32",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that models run on; auto: CUDA if present"
    )
    gpus: str = Field(
        "all",
        description="GPUs that stages share: all, or their numbers such as 0,1,2,3; with 0,0 two processes at a time "
        "use GPU 0, for models that fill it badly",
    )
    cpu_workers: int = Field(
        1, ge=1, le=256, description="workers that share the CPU's cores; each runs a stage or a rank"
    )
    executor: Literal["local", "ray"] = Field(
        "local", description="where stages run: on this machine, or on the nodes of a Ray cluster"
    )
    address: str = Field("auto", min_length=1, description="address of the Ray cluster; auto: the one of this machine")
    storage_path: str = Field(
        "auto",
        min_length=1,
        description="how files reach Ray nodes: in place if all see the run folder, else through Ray (auto); "
        "always through Ray (ray); or through this folder or fsspec URL, such as s3://bucket/folder",
    )
    node_dir: Path | None = Field(
        None, description="folder of each Ray node for its copies of the run folder; default: in its temporary folder"
    )
    engine: Engine = Field(
        "auto",
        description="engine of generate, score and evaluate; auto: vLLM on CUDA if installed, else transformers; "
        "endpoint: answers from teacher_endpoint, all else by weights_engine",
    )
    weights_engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto",
        description="with engine endpoint, the engine of what needs weights: score and the evaluations; auto: vLLM on "
        "CUDA if installed, else transformers",
    )
    teacher_gpus: int = Field(
        0,
        ge=0,
        description="GPUs that a copy of the teacher is split over (vLLM on a CPU: processes); 0: in vLLM the fewest "
        "that hold it, in transformers one",
    )
    teacher_endpoint: str = Field(
        "", description="URL of an OpenAI-compatible API; its key goes into the environment variable L2S_ENDPOINT_KEY"
    )
    endpoint_model: str = Field("", description="name of the teacher at the endpoint; empty: teacher_model")
    endpoint_body: str = Field("{}", description="JSON object with further fields of each request to the endpoint")
    endpoint_concurrency: int = Field(16, ge=1, le=1024, description="concurrent requests to the endpoint")
    endpoint_per_minute: int = Field(0, ge=0, description="rate limit of requests to the endpoint; 0: none")
    endpoint_tries: int = Field(8, ge=1, le=100, description="attempts at a request while the endpoint is busy or down")
    endpoint_timeout_s: float = Field(600.0, gt=0, description="timeout of a request to the endpoint, in seconds")
    mix_versions: bool = Field(
        False, description="continue an experiment whose stages were made with other versions of l2s or its packages"
    )
    trust_remote_code: bool = Field(False, description="allow a model to run Python code from its repository")
    thinking: Literal["off", "on"] = Field(
        "off", description="enable_thinking of chat templates that have it; thoughts are trained on but not graded"
    )
    prompt_date: date = Field(
        date(2026, 1, 1),
        description="date given to chat templates that print one; fixed, so that prompts do not change overnight",
    )

    # Places
    output_dir: Path = Field(Path("outputs"), description="folder that holds the experiment folders")
    processed_dir: Path = Field(Path("data/processed"), description="folder that the two datasets are copied to")
    data_dir: Path | None = Field(None, description="folder with gsm8k/ and mbpp/; default: $L2S_DATA, then the hub")
    seed: int = Field(42, ge=0, lt=2**32, description="seed of data selection, sampling and training")
    seeds: str = Field(
        "",
        description="seeds of training, such as 1,2,3: each arm is trained and evaluated once with each on the same "
        "data, and the first is the arm's student in all tables (empty: seed alone)",
    )

    # Data
    domains: str = Field(
        "auto",
        min_length=1,
        description="comma-separated domains to train and evaluate on; auto: all that have data",
    )
    train_file: Path | None = Field(None, description="your own training data, JSONL or parquet (domain `own`)")
    eval_file: Path | None = Field(None, description="your own evaluation data, JSONL or parquet")
    own_grader: str = Field(
        "none",
        description="grader of your own data: exact, contains, number, json, choice, python:FILE.py:function or none",
    )
    own_timeout_s: float = Field(
        10.0, gt=0, le=3600, description="time limit of your Python grader for one answer, in seconds"
    )
    system_prompt: str = Field("", description="system message put before each prompt of your own data")
    math_source: Literal["gsm8k", "synthetic", "one_step"] = Field("gsm8k", description="source of the math problems")
    code_train_source: Literal["mbpp", "humaneval"] = Field(
        "mbpp",
        description="code training problems; humaneval overlaps the evaluation and is reported as contaminated",
    )
    math_train_size: int = Field(2000, ge=0, description="number of math training items")
    code_train_size: int = Field(164, ge=0, description="number of code training items")
    aiops_train_size: int = Field(1000, ge=0, description="number of AIOps training items")
    math_eval_size: int = Field(200, ge=0, description="number of math evaluation items")
    code_eval_size: int = Field(50, ge=0, le=164, description="number of code evaluation items (HumanEval has 164)")
    aiops_eval_size: int = Field(100, ge=0, description="number of AIOps evaluation items")
    aiops_language: Literal["en", "zh", "both"] = Field("both", description="language of the AIOps items")
    aiops_log_lines: int = Field(40, ge=15, le=40, description="maximum length of an AIOps log, in lines")

    # Teacher answers
    max_new_tokens: int = Field(512, ge=1, description="maximum length of an answer, in tokens")
    generation_batch_size: int = Field(16, ge=1, description="maximum prompts in a generation batch")
    answers: Literal["teacher", "reference"] = Field(
        "teacher", description="training answers: the teacher's, or the reference solutions of the data"
    )
    sampling_temperature: float = Field(
        0.0, ge=0, le=10, description="sampling temperature of the teacher's answers; 0: greedy"
    )
    sampling_top_p: float = Field(1.0, gt=0, le=1, description="top-p threshold")
    keep_correct: bool = Field(
        False, description="resample answers that the grader rejects; drop items whose tries all fail"
    )
    answers_per_item: int = Field(
        1,
        ge=1,
        le=64,
        description="different answers of an item to learn from, right ones with keep_correct; those after the first "
        "are sampled",
    )
    max_tries: int = Field(
        4, ge=2, le=64, description="maximum tries for an item with keep_correct; at least answers_per_item are made"
    )
    retry_temperature: float = Field(0.7, gt=0, le=10, description="sampling temperature from the second try on")
    teacher_context: str = Field(
        "none",
        description="what the teacher sees before it answers and the student does not: none, fewshot:K (K solved "
        "training items), file:FILE (a text such as a runbook) or reference (the item's reference solution); for some "
        "domains only: math=fewshot:4,aiops=reference",
    )

    # Sequences
    max_length: int = Field(
        2048, ge=8, description="maximum length of a training sequence, prompt and answer, in tokens"
    )
    overlong: Literal["drop", "cut"] = Field("drop", description="drop or cut training sequences above max_length")

    # Tuning
    tuning: Tuning = Field(
        "qlora", description="what is trained: LoRA on a 4-bit NF4 base, LoRA on weights of dtype, or all weights"
    )
    lora_r: int = Field(32, ge=1, le=1024, description="LoRA rank")
    lora_alpha: int = Field(64, ge=1, description="LoRA scale; updates are multiplied by lora_alpha / lora_r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of LoRA layers")
    lora_target_modules: str = Field(
        "all-linear", min_length=1, description="modules that LoRA adapts: comma-separated names, or all-linear"
    )
    gradient_checkpointing: bool = Field(True, description="recompute activations to save memory")
    gradient_accumulation_steps: int = Field(4, ge=1, description="batches accumulated for one update")
    sharding: Sharding = Field(
        "auto", description="how ranks hold the student; auto: ddp with LoRA, fsdp2 where all weights are trained"
    )
    tokens_per_batch: int = Field(
        0, ge=0, description="maximum tokens of a training micro-batch, padding included; 0: the batch size decides"
    )
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="share of all updates spent on warm-up")
    lr_scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="learning-rate schedule after warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient norm above which gradients are clipped")
    save_steps: int = Field(50, ge=1, description="updates between checkpoints; a killed run resumes from the last one")
    heldout_answers: int = Field(
        16, ge=0, description="answers held out of SFT and KD to track the loss on; at most 5% of all; 0: none"
    )
    report_to: str = Field("none", description=f"experiment trackers: none, or comma-separated: {', '.join(TRACKERS)}")

    # SFT
    sft_epochs: int = Field(1, ge=1, description="epochs of SFT")
    sft_batch_size: int = Field(4, ge=1, description="sequences of a micro-batch in SFT")
    sft_lr: float = Field(2e-4, gt=0, lt=1, description="peak learning rate of SFT")

    # KD
    kd_init: Literal["auto", "sft", "base"] = Field(
        "auto",
        description="initial student of KD and OPD; auto: the SFT student if there is one, else the base",
    )
    kd_epochs: int = Field(1, ge=1, description="epochs of KD")
    kd_batch_size: int = Field(2, ge=1, description="sequences of a micro-batch in KD")
    kd_lr: float = Field(1.5e-4, gt=0, lt=1, description="peak learning rate of KD")
    temperature: float = Field(2.0, gt=0, le=100, description="temperature of the KD loss")
    alpha: float = Field(
        0.5, ge=0, le=1, description="weight of the cross-entropy in the KD loss; the divergence has weight 1 - alpha"
    )
    divergence: Divergence = Field("forward_kl", description="divergence minimised between teacher and student")
    divergence_beta: float = Field(
        0.5, gt=0, lt=1, description="weight of the teacher in the mixture of jsd and skew_kl"
    )
    teacher_signal: TeacherSignal = Field(
        "hidden", description="teacher targets of KD: stored hidden states, stored top-k logits, or a teacher in memory"
    )
    topk: int = Field(64, ge=1, description="teacher logits stored per token with teacher_signal topk")

    # OPD
    opd_steps: int = Field(100, ge=1, description="updates of OPD; each uses new answers of the student")
    opd_batch_size: int = Field(2, ge=1, description="prompts on a device at a time in OPD")
    opd_lr: float = Field(1e-4, gt=0, lt=1, description="peak learning rate of OPD")
    opd_max_new_tokens: int = Field(256, ge=1, description="maximum length of the student's answers in OPD, in tokens")
    opd_divergence: OnPolicyDivergence = Field(
        "reverse_kl", description="divergence minimised between teacher and student on the student's answers"
    )
    opd_runaway: Literal["stop", "warn"] = Field(
        "stop",
        description="end OPD, or only warn, when the student runs away: nearly all answers are cut, or it leaves the "
        "teacher's distribution",
    )

    # Evaluation
    eval_batch_size: int = Field(16, ge=1, description="maximum prompts in an evaluation batch")
    fidelity_size: int = Field(
        350, ge=0, description="teacher answers on evaluation items on which KL to the teacher is measured"
    )
    code_timeout_s: float = Field(10.0, gt=0, le=600, description="time limit of a program in the sandbox, in seconds")
    lm_eval_tasks: str = Field(
        "", description="comma-separated tasks of lm-evaluation-harness to evaluate as well; empty: none"
    )
    lm_eval_limit: int = Field(0, ge=0, description="items of each of those tasks; 0: all")
    lm_eval_batch_size: int = Field(8, ge=1, description="batch size in those tasks")
    lm_eval_include_path: Path | None = Field(
        None, description="folder with your own task definitions for lm-evaluation-harness (YAML)"
    )
    lang: Literal["en", "zh"] = Field("en", description="language of the report")

    @property
    def engine_of_weights(self) -> Engine:
        """The engine of stages that hold the weights of a model."""
        return self.weights_engine if self.engine == "endpoint" else self.engine

    @property
    def remote_teacher(self) -> bool:
        """Whether the teacher is only known by its answers through an endpoint: no arm needs its weights."""
        return self.engine == "endpoint" and self.arms == "sft"

    @property
    def most_tries(self) -> int:
        """How often an item is asked at most."""
        return max(self.max_tries, self.answers_per_item) if self.keep_correct else self.answers_per_item

    # Of the validators before pydantic's own, the last in this class is the first to run.
    @field_validator("*", mode="before")
    @classmethod
    def _no_type_stands_for_another(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would read as something else: true as 1. And characters that no file can hold."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float):
            raise ValueError("must be a number, not true or false")
        if kind is str and not isinstance(value, str):
            raise ValueError("must be text; in a YAML file, put it in quotes")
        if isinstance(value, str | Path) and ("\0" in str(value) or SURROGATE.search(str(value))):
            raise ValueError("must not hold NUL or bytes that are not UTF-8; remove them")
        return value

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _join_a_list(cls, value: Any) -> Any:
        """The list, or the number, that YAML reads where a flag has comma-separated text."""
        parts = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
            return value
        return ",".join(part if isinstance(part, str) else f"{part:d}" for part in parts)

    @field_validator("experiment_name")
    @classmethod
    def _name_is_one_folder(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError(
                "must have at most 100 letters, digits, '.', '_' and '-', and start with a letter or digit"
            )
        return value

    @field_validator(
        "output_dir",
        "processed_dir",
        "data_dir",
        "node_dir",
        "lm_eval_include_path",
        "train_file",
        "eval_file",
        mode="before",
    )
    @classmethod
    def _path_is_not_empty(cls, value: Any) -> Any:
        if value == "":  # would be the current folder
            raise ValueError("name a folder or file, or leave the setting out")
        return expand_home(value)

    @field_validator("teacher_model", "student_model", "own_grader", mode="before")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        kind, mark, path = value.partition(":") if isinstance(value, str) else ("", "", "")
        return f"{kind}:{expand_home(path)}" if kind == "python" and mark else expand_home(value)

    @field_validator("teacher_context", mode="before")
    @classmethod
    def _context_is_known(cls, value: Any) -> Any:
        by_domain = contexts_by_domain(str(value))
        known = {domain: known_context(context) for domain, context in by_domain.items()}
        if ALL_DOMAINS in known:
            return known[ALL_DOMAINS]
        named = sorted((domain, context) for domain, context in known.items() if context != "none")
        return ",".join("=".join(pair) for pair in named) or "none"

    @field_validator("gpus")
    @classmethod
    def _gpus_are_numbered(cls, value: str) -> str:
        if value == "all":
            return value
        numbers = [number.strip() for number in value.split(",")]
        known = all(re.fullmatch("[0-9]{1,9}", number) for number in numbers)
        if not known:
            raise ValueError("give all, or numbers separated by commas, such as 0,1,2,3")
        return ",".join(str(int(number)) for number in numbers)

    @field_validator("thinking", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("prompt_date", mode="before")
    @classmethod
    def _date_is_written_out(cls, value: Any) -> Any:
        """Refuse a bare number, which pydantic reads as seconds since 1970."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(value), re.ASCII)
            return date.fromisoformat(str(value))
        except (ValueError, AssertionError):
            raise ValueError("must be a date, such as 2026-01-31") from None

    @field_validator("report_to")
    @classmethod
    def _trackers_are_known(cls, value: str) -> str:
        named = names_in(value)
        if named != ["none"] and not set(named) <= TRACKERS.keys():
            raise ValueError(f"must be none, or one or more of {', '.join(TRACKERS)}, separated by commas")
        return ",".join(named)

    @field_validator("seeds")
    @classmethod
    def _seeds_are_different_numbers(cls, value: str) -> str:
        named = [part.strip() for part in value.split(",")] if value.strip() else []
        if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) < 2**32 for part in named):
            raise ValueError("must be whole numbers from 0 to 4294967295, separated by commas, such as 1,2,3")
        numbers = [int(part) for part in named]
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise ValueError(f"names {twice} twice; each seed is trained once")
        return ",".join(map(str, numbers))

    def teacher_context_in(self, domain: str) -> str:
        """The `teacher_context` of one domain; none where only other domains have one."""
        found = contexts_by_domain(self.teacher_context)
        return found.get(domain, found.get(ALL_DOMAINS, "none"))

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds that each arm is trained with; the first one's student is the arm's student in all tables."""
        return tuple(map(int, self.seeds.split(","))) if self.seeds else (self.seed,)

    @field_validator("lora_target_modules", "lm_eval_tasks")
    @classmethod
    def _no_name_is_blank(cls, value: str) -> str:
        if value and not all(names_in(value)):
            raise ValueError("must be names separated by commas, none of them blank")
        return value

    @field_validator("domains")
    @classmethod
    def _domains_are_different(cls, value: str) -> str:
        names_in(value)  # which of them there are, the table of domains knows
        return value

    @field_validator("arms")
    @classmethod
    def _arms_are_known(cls, value: str) -> str:
        named = [name.strip() for name in value.split(",")]
        if not set(named) <= set(ARMS):
            raise ValueError(f"must be one or more of {', '.join(ARMS)}, separated by commas")
        names_in(value)
        return ",".join(arm for arm in ARMS if arm in named)  # in training order

    @model_validator(mode="after")
    def _a_context_needs_a_teacher(self) -> ExperimentConfig:
        if self.answers == "reference" and (self.teacher_context != "none" or self.answers_per_item > 1):
            name = "teacher_context" if self.teacher_context != "none" else "answers_per_item"
            raise ValueError(
                f"{name}={shown(getattr(self, name))}: with answers='reference' the teacher answers nothing; "
                "leave one out"
            )
        return self

    @model_validator(mode="after")
    def _an_answer_fits_a_sequence(self) -> ExperimentConfig:
        if self.max_new_tokens >= self.max_length:
            raise ValueError(f"max_new_tokens={self.max_new_tokens} must be below max_length={self.max_length}")
        return self


ALL_DOMAINS = ""  # key of a context that every domain has
OF_DOMAIN = re.compile(r"(?:^|,)\s*(\w+)\s*=\s*(?=none|reference|fewshot|file:)")  # a file's name may hold , and =


def contexts_by_domain(value: str) -> dict[str, str]:
    """`math=fewshot:4,aiops=reference` as domain -> context; a context alone has the key ALL_DOMAINS.

    Raises:
        ValueError: a domain is named twice.
    """
    if not OF_DOMAIN.match(value):
        return {ALL_DOMAINS: value}
    _, *parts = OF_DOMAIN.split(value)
    domains = parts[::2]
    if twice := next((domain for domain in domains if domains.count(domain) > 1), None):
        raise ValueError(f"names {twice} twice; give each domain one context")
    return {domain: context.strip() for domain, context in zip(domains, parts[1::2], strict=True)}


def known_context(value: str) -> str:
    """A context of one domain in its usual form.

    Raises:
        ValueError: there is no such context.
    """
    kind, _, argument = value.partition(":")
    if kind in ("none", "reference") and value == kind:
        return value
    if kind == "fewshot" and re.fullmatch("[0-9]{1,9}", argument) and 1 <= int(argument) <= 64:
        return f"fewshot:{int(argument)}"
    if kind == "file" and argument:
        return f"file:{expand_home(argument)}"
    raise ValueError(
        "must be none, reference, fewshot:K with K from 1 to 64, or file:FILE, for all domains or for each: "
        "math=fewshot:4,aiops=reference"
    )


def expand_home(value: Any) -> Any:
    """`value` with `~` replaced by the home folder, which no shell does in a YAML file or after `--flag=`."""
    if not isinstance(value, str | Path) or not str(value).startswith("~"):
        return value
    try:
        return type(value)(Path(value).expanduser())
    except RuntimeError:  # no such user: a later error will name the folder as given
        return value


def resolve_config(
    flags: Mapping[str, Any], *, preset: str | None = None, file: Path | None = None
) -> ExperimentConfig:
    """Merge field defaults < preset < YAML file < flags, and validate.

    Raises:
        UserError: one line with field, value and what is allowed.
    """
    merged: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"--preset {plain(preset)}: not a preset; allowed: {', '.join(PRESETS)}")
        merged |= PRESETS[preset]
    of_file = read_settings(file) if file is not None else {}
    merged |= {**of_file, **flags}
    if merged.get("data_dir") is None and os.environ.get("L2S_DATA"):
        merged["data_dir"] = os.environ["L2S_DATA"]
    try:
        return ExperimentConfig(**merged)
    except ValidationError as error:
        first = next(iter(error.errors()[0]["loc"]), None)
        place = f"--config {file}: " if first in of_file.keys() - flags.keys() else ""
        raise UserError(place + _one_line(error)) from None


REWORDED = (
    ("Value error, ", ""),
    ("Input should be", "must be"),
    ("String should have", "must have"),
    ("Unable to parse input string as an integer, exceeded maximum size", "must be an integer of fewer digits"),
    ("Input is not a valid path for <class 'pathlib.Path'>", "must be a path"),
)


def _one_line(error: ValidationError) -> str:
    """The first wrong field: its name, its value and what is allowed."""
    first = error.errors(include_url=False, include_context=False)[0]
    reason = first["msg"]
    for pydantics, ours in REWORDED:
        reason = reason.replace(pydantics, ours)
    if not first["loc"]:
        return reason
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"{plain(name)}: no such setting{suggest(name)}"
    return f"{name}={shown(first['input'])}: {reason}"


def suggest(name: str) -> str:
    """A hint that names the field closest to a mistyped one, or says where all are listed."""
    close = difflib.get_close_matches(name, list(ExperimentConfig.model_fields), n=1)
    return f"; did you mean {close[0]}?" if close else "; `l2s run --help` lists all"
