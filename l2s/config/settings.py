"""ExperimentConfig: every setting of an experiment, once. A field is a command-line flag and a YAML key."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from l2s.config.answers import WhoseAnswers, answers_by_domain, fault_of_references
from l2s.config.field_types import (
    TRACKERS,
    Arms,
    Date,
    Divergence,
    Domains,
    Engine,
    ExperimentName,
    GpuNumbers,
    Grader,
    ModelName,
    Named,
    Names,
    OnPolicyDivergence,
    OptionalPlace,
    Place,
    Quantization,
    Seeds,
    Sharding,
    Switch,
    TeacherSignal,
    Trackers,
    Tuning,
    joined,
)
from l2s.config.teacher_context import ALL_DOMAINS, TeacherContext, contexts_by_domain
from l2s.jsonl import SURROGATE

LISTS = ("arms", "answers", "domains", "seeds", "gpus", "report_to", "lora_target_modules", "lm_eval_tasks")


class ExperimentConfig(BaseModel):
    """All settings of one experiment; immutable. Sizes count rows, lengths count tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    # What to run
    experiment_name: ExperimentName = Field(
        "default", description="name of the experiment; its folder under output_dir holds all results"
    )
    arms: Arms = Field(
        "sft,kd", description="students that run_all trains and evaluates, comma-separated: sft, kd, opd"
    )
    run_all: bool = Field(False, description="run all stages for the arms, from the data to the report")
    run_prepare: bool = Field(False, description="write the training and evaluation datasets")
    run_generate: bool = Field(False, description="prepare the data and generate the teacher's answers")
    run_score: bool = Field(
        False, description="record the teacher's hidden states or top-k logits on its answers, for KD"
    )
    run_sft: bool = Field(False, description="train the student on the teacher's answers (SFT)")
    run_kd: bool = Field(False, description="train the student on the teacher's distribution (KD)")
    run_opd: bool = Field(
        False, description="train the student on its own answers toward the teacher's distribution (OPD; needs TRL)"
    )
    run_eval: bool = Field(False, description="evaluate the models of this experiment and write the report")

    # Models
    teacher_model: ModelName = Field(
        "Qwen/Qwen3-30B-A3B-Instruct-2507", min_length=1, description="hub name or folder of the teacher"
    )
    student_model: ModelName = Field("Qwen/Qwen3-8B", min_length=1, description="hub name or folder of the student")
    teacher_quantization: Quantization = Field(
        "none", description="quantization of the teacher's weights; fp8, awq and gptq need vLLM"
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="type of weights and activations; auto: bfloat16 if the hardware computes it, else float32",
    )

    # Devices
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device that models run on; auto: CUDA if present"
    )
    gpus: GpuNumbers = Field(
        "all",
        description="GPUs that stages share: all, or numbers such as 0,1,2,3; 0,0 runs two processes on GPU 0, for "
        "small models",
    )
    cpu_workers: int = Field(
        1, ge=1, le=256, description="workers that share the CPU's cores; each runs a stage or a rank"
    )
    executor: Literal["local", "ray"] = Field(
        "local", description="where stages run: on this machine, or on the nodes of a Ray cluster"
    )
    address: Named = Field("auto", description="address of the Ray cluster; auto: the one of this machine")
    storage_path: Named = Field(
        "auto",
        description="how files reach Ray nodes; auto: in place if all nodes see the run folder, else through Ray; "
        "ray: through Ray; else a folder or fsspec URL that all nodes reach, such as s3://bucket/folder",
    )
    node_dir: OptionalPlace = Field(
        None, description="folder of each Ray node for its copies of the run folder; default: in its temporary folder"
    )

    # Engines
    engine: Engine = Field(
        "auto",
        description="engine of generate, score and evaluate; auto: vLLM on CUDA if installed, else transformers; "
        "endpoint: teacher_endpoint answers, and weights_engine does the rest",
    )
    weights_engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto",
        description="engine of score and evaluate if engine is endpoint; auto: vLLM on CUDA if installed, else "
        "transformers",
    )
    teacher_gpus: int = Field(
        0,
        ge=0,
        description="GPUs for each copy of the teacher (vLLM on a CPU: processes); 0: the fewest that hold it in vLLM, "
        "one in transformers",
    )
    teacher_endpoint: str = Field(
        "", description="URL of an OpenAI-compatible API; its key goes into the environment variable L2S_ENDPOINT_KEY"
    )
    endpoint_model: str = Field("", description="name of the teacher at the endpoint; empty: teacher_model")
    endpoint_body: str = Field(
        "{}", description="JSON object with further fields of each request to the endpoint; null leaves a field out"
    )
    endpoint_concurrency: int = Field(16, ge=1, le=1024, description="concurrent requests to the endpoint")
    endpoint_per_minute: int = Field(0, ge=0, description="rate limit of requests to the endpoint; 0: none")
    endpoint_tries: int = Field(8, ge=1, le=100, description="attempts at a request while the endpoint is busy or down")
    endpoint_timeout_s: float = Field(
        600.0, gt=0, le=86_400, description="timeout of a request to the endpoint, in seconds"
    )

    # Versions, code and prompts
    mix_versions: bool = Field(
        False, description="continue an experiment whose stages were made with other versions of l2s or its packages"
    )
    trust_remote_code: bool = Field(False, description="allow a model to run Python code from its repository")
    thinking: Switch = Field(
        "off", description="enable_thinking of chat templates that have it; thoughts are trained on but not graded"
    )
    prompt_date: Date = Field(
        date(2026, 1, 1),
        description="date given to chat templates that print one; fixed, so that prompts do not change overnight",
    )

    # Folders and seeds
    output_dir: Place = Field(Path("outputs"), description="folder that holds the experiment folders")
    processed_dir: Place = Field(Path("data/processed"), description="folder that the two datasets are copied to")
    data_dir: OptionalPlace = Field(None, description="folder with gsm8k/ and mbpp/; default: $L2S_DATA, then the hub")
    seed: int = Field(42, ge=0, lt=2**32, description="seed of data selection, sampling and training")
    seeds: Seeds = Field(
        "",
        description="seeds of training, such as 1,2,3; each arm is trained and evaluated with every seed on the same "
        "data, and tables of one student show that of the first seed; empty: seed alone",
    )

    # Data
    domains: Domains = Field(
        "auto",
        min_length=1,
        description="comma-separated domains to train and evaluate on; auto: all that have data",
    )
    train_file: OptionalPlace = Field(None, description="your own training data, JSONL or parquet (domain `own`)")
    eval_file: OptionalPlace = Field(None, description="your own evaluation data, JSONL or parquet")
    own_grader: Grader = Field(
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

    # The teacher's answers
    max_new_tokens: int = Field(512, ge=1, description="maximum length of an answer, in tokens")
    generation_batch_size: int = Field(16, ge=1, description="maximum prompts in a generation batch")
    answers: WhoseAnswers = Field(
        "teacher",
        description="training answers: teacher (what the teacher writes) or reference (the solutions of the data); for "
        "single domains: math=reference, and the teacher's in the others",
    )
    sampling_temperature: float = Field(
        0.0, ge=0, le=10, description="sampling temperature of the teacher's answers; 0: greedy"
    )
    sampling_top_p: float = Field(1.0, gt=0, le=1, description="top-p of sampling")
    keep_correct: bool = Field(
        False, description="resample answers that the grader rejects; drop items whose tries all fail"
    )
    answers_per_item: int = Field(
        1,
        ge=1,
        le=64,
        description="number of different answers to each item to learn from; with keep_correct, of right ones; all but "
        "the first are sampled",
    )
    max_tries: int = Field(
        4, ge=1, le=64, description="maximum tries for an item with keep_correct; at least answers_per_item are made"
    )
    retry_temperature: float = Field(0.7, gt=0, le=10, description="sampling temperature from the second try on")
    teacher_context: TeacherContext = Field(
        "none",
        description="what only the teacher sees when it answers, and when KD or OPD learn from it: none, fewshot:K (K "
        "solved training items), file:FILE (a text such as a runbook) or reference (the item's reference solution); "
        "for single domains: math=fewshot:4,aiops=reference",
    )

    # Sequences
    max_length: int = Field(
        2048, ge=8, description="maximum length of a training sequence, prompt and answer, in tokens"
    )
    overlong: Literal["drop", "cut"] = Field("drop", description="drop or cut training sequences above max_length")

    # Training
    tuning: Tuning = Field(
        "qlora", description="what is trained: LoRA on a 4-bit NF4 base, LoRA on weights of dtype, or all weights"
    )
    lora_r: int = Field(32, ge=1, le=1024, description="LoRA rank")
    lora_alpha: int = Field(64, ge=1, description="LoRA scale; updates are multiplied by lora_alpha / lora_r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of LoRA layers")
    lora_target_modules: Names = Field(
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
    warmup_ratio: float = Field(
        0.03, ge=0, lt=1, description="share of updates spent on warm-up, from a rate of 0; a single update has none"
    )
    lr_scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="learning-rate schedule after warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, le=100, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient norm above which gradients are clipped")
    merge_weight: float = Field(
        1.0, gt=0, le=1, description="share of each training's change that its final_model, where the next starts, gets"
    )
    save_steps: int = Field(50, ge=1, description="updates between checkpoints; a killed run resumes from the last one")
    heldout_answers: int = Field(
        16, ge=0, description="answers held out of SFT and KD, to measure the loss on; at most 5% of all; 0: none"
    )
    report_to: Trackers = Field(
        "none", description=f"experiment trackers: none, or comma-separated: {', '.join(TRACKERS)}"
    )

    # SFT
    sft_epochs: int = Field(1, ge=1, description="epochs of SFT")
    sft_batch_size: int = Field(4, ge=1, description="sequences in a micro-batch of SFT")
    sft_lr: float = Field(2e-4, gt=0, lt=1, description="peak learning rate of SFT")

    # KD
    kd_init: Literal["auto", "sft", "base"] = Field(
        "auto",
        description="initial student of KD and OPD; auto: the SFT student if there is one, else the base",
    )
    kd_epochs: int = Field(1, ge=1, description="epochs of KD")
    kd_batch_size: int = Field(2, ge=1, description="sequences in a micro-batch of KD")
    kd_lr: float = Field(1.5e-4, gt=0, lt=1, description="peak learning rate of KD")
    temperature: float = Field(2.0, gt=0, le=100, description="temperature of the KD loss")
    alpha: float = Field(
        0.5, ge=0, le=1, description="weight of the cross-entropy in the KD loss; the divergence has weight 1 - alpha"
    )
    divergence: Divergence = Field("forward_kl", description="divergence between teacher and student that KD minimises")
    divergence_beta: float = Field(
        0.5, gt=0, lt=1, description="weight of the teacher in the mixture of jsd and skew_kl"
    )
    teacher_signal: TeacherSignal = Field(
        "hidden", description="teacher targets of KD: stored hidden states, stored top-k logits, or a teacher in memory"
    )
    topk: int = Field(64, ge=1, description="teacher logits stored per token with teacher_signal topk")

    # OPD
    opd_steps: int = Field(100, ge=1, description="updates of OPD; each uses new answers of the student")
    opd_batch_size: int = Field(2, ge=1, description="prompts in a micro-batch of OPD")
    opd_lr: float = Field(1e-4, gt=0, lt=1, description="peak learning rate of OPD")
    opd_max_new_tokens: int = Field(256, ge=1, description="maximum length of the student's answers in OPD, in tokens")
    opd_divergence: OnPolicyDivergence = Field(
        "reverse_kl", description="divergence between teacher and student that OPD minimises on the student's answers"
    )
    opd_runaway: Literal["stop", "warn"] = Field(
        "stop",
        description="stop OPD, or only warn, if the student runs away: nearly all answers are cut, or it leaves the "
        "teacher's distribution",
    )

    # Evaluation and report
    eval_batch_size: int = Field(16, ge=1, description="maximum prompts in an evaluation batch")
    fidelity_size: int = Field(
        350, ge=0, description="number of the teacher's evaluation answers on which the KL to it is measured; 0: none"
    )
    code_timeout_s: float = Field(10.0, gt=0, le=600, description="time limit of a program in the sandbox, in seconds")
    lm_eval_tasks: Names = Field(
        "", description="tasks of lm-evaluation-harness to run as well, comma-separated; empty: none"
    )
    lm_eval_limit: int = Field(0, ge=0, description="items of each of those tasks; 0: all")
    lm_eval_batch_size: int = Field(8, ge=1, description="batch size in those tasks")
    lm_eval_include_path: OptionalPlace = Field(
        None, description="folder with your own task definitions for lm-evaluation-harness (YAML)"
    )
    lang: Literal["en", "zh"] = Field("en", description="language of the report")

    @property
    def engine_of_weights(self) -> Engine:
        """The engine of stages that hold the weights of a model."""
        return self.weights_engine if self.engine == "endpoint" else self.engine

    @property
    def measures_fidelity(self) -> bool:
        """Whether models are compared with the teacher's distribution. An endpoint shows none."""
        return self.fidelity_size > 0 and not self.remote_teacher

    @property
    def remote_teacher(self) -> bool:
        """Whether the teacher is only known by its answers through an endpoint: no arm needs its weights."""
        return self.engine == "endpoint" and self.arms == "sft"

    @property
    def most_tries(self) -> int:
        """How often an item is asked at most."""
        return max(self.max_tries, self.answers_per_item) if self.keep_correct else self.answers_per_item

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds that each arm is trained with; the first one's student is the arm's student in all tables."""
        return tuple(map(int, self.seeds.split(","))) if self.seeds else (self.seed,)

    def teacher_context_in(self, domain: str) -> str:
        """The `teacher_context` of one domain; none where only other domains have one."""
        found = contexts_by_domain(self.teacher_context)
        return found.get(domain, found.get(ALL_DOMAINS, "none"))

    def answers_in(self, domain: str) -> str:
        """Whose answers are learned from in one domain: `teacher` or `reference`."""
        found = answers_by_domain(self.answers)
        return found.get(domain, found.get(ALL_DOMAINS, "teacher"))

    # These run before the types of the fields are checked; pydantic runs the last one first.
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

    @field_validator("*")
    @classmethod
    def _number_can_be_computed_with(cls, value: Any) -> Any:
        """Refuse what overflows in libraries, or makes another number infinite that is divided by it."""
        if type(value) is int and value >= 2**32:
            raise ValueError("must be less than 4294967296")
        if isinstance(value, float) and 0 < abs(value) < 1e-12:
            raise ValueError("must be 0 or at least 1e-12")
        return value

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _join_a_list(cls, value: Any) -> Any:
        return joined(value)

    # These see the whole configuration.
    @model_validator(mode="after")
    def _references_are_taken_as_they_are(self) -> ExperimentConfig:
        if fault := fault_of_references(self.answers, self.answers_per_item, self.teacher_context, self.arms):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _an_answer_fits_a_sequence(self) -> ExperimentConfig:
        if self.max_new_tokens >= self.max_length:
            raise ValueError(f"max_new_tokens={self.max_new_tokens} must be below max_length={self.max_length}")
        return self
