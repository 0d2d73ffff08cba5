"""A run folder of random numbers without any model: every file the report reads, with hostile text in the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from l2s.config import ExperimentConfig
from l2s.jsonl import Row, write_jsonl
from l2s.metrics import StageMetrics
from l2s.run_dir import Manifest, RunDir

MODELS = ("teacher", "student_base", "student_sft", "student_kd", "student_opd")
SKILL = {"teacher": 0.8, "student_base": 0.3, "student_sft": 0.5, "student_kd": 0.56, "student_opd": 0.6}
DISTANCE = {"teacher": 0.0, "student_base": 0.9, "student_sft": 0.42, "student_kd": 0.2, "student_opd": 0.15}
SIZES = {"math": 200, "code": 50, "aiops": 100}
SOURCES = {"math": "gsm8k", "code": "humaneval", "aiops": "aiops-synthetic"}
MACHINE = {
    "cpu": "Acme 9000 @ 2.70GHz", "cores": 4, "threads": 8, "usable_threads": 2, "memory_bytes": 24 << 30,
    "os": "Linux-6.18-x86_64",
}  # fmt: skip
DETAILS = {"math": "strict_match", "aiops": "all_required"}
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "| broken | table | **bold** [link](javascript:alert(1)) ` \\",
    "\u2028\u2029 \u202e reversed \x00 {{ 7 * 7 }} {% raw %} ]]> &lt;b&gt; 你好 🎉",
)


def make_run(
    parent: Path,
    *,
    models: tuple[str, ...] = MODELS,
    sizes: dict[str, int] | None = None,
    response_words: int = 60,
    name: str = "synthetic",
    seed: int = 0,
    **settings: Any,
) -> tuple[ExperimentConfig, RunDir]:
    """Write a whole run folder under `parent`; the same arguments give the same files."""
    sizes = SIZES if sizes is None else sizes
    fields = {"teacher_model": "org/Teacher-1.5B", "student_model": "org/Student-0.5B"} | settings
    config = ExperimentConfig(experiment_name=name, output_dir=parent, run_all=True, **fields)
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    rng = np.random.default_rng(seed)
    items = [_item(domain, i, config) for domain, size in sizes.items() for i in range(size)]
    _write(run_dir.eval_data, items)
    _write(run_dir.train_data, [_train_item(domain, i, config) for domain in sizes for i in range(30)])
    hardness = rng.random(len(items))
    for model in models:
        rows = [_prediction(item, model, hard, rng, response_words) for item, hard in zip(items, hardness, strict=True)]
        _write(run_dir.predictions(model), rows)
        _write(run_dir.fidelity(model), [_fidelity(row, model, rng) for row in rows])
        _manifest(run_dir, f"evaluate_{model}", **_model_metrics(model))
    _write_training(run_dir, models, rng)
    return config, run_dir


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)


def _item(domain: str, number: int, config: ExperimentConfig) -> Row:
    source = "synthetic" if domain == "math" and config.math_source == "synthetic" else SOURCES[domain]
    question = f"Question {number} about {domain}: " + " ".join(f"word{number}_{i}" for i in range(40))
    if domain == "aiops":
        question += "\n" + "\n".join(
            f"2026-01-01T00:00:{i:02d}Z svc-{i % 3} ERROR <{number}> pool & queue" for i in range(25)
        )
    return {
        "id": f"{domain}-{number}",
        "domain": domain,
        "source": source,
        "messages": [{"role": "user", "content": question}],
        "reference": {"concepts": [["disk full", "no space"]]} if domain == "aiops" else str(number),
        "meta": {"family": f"family-{number % 25}", "style": f"style-{number % 5}"} if domain == "aiops" else {},
    }


def _train_item(domain: str, number: int, config: ExperimentConfig) -> Row:
    """Separate training rows, except for code_train_source=humaneval, which trains on the evaluation problems."""
    row = _item(domain, number, config)
    if domain == "code" and config.code_train_source == "humaneval":
        return row
    content = f"Training task {number} of {domain}: " + " ".join(f"term{number}_{i}" for i in range(40))
    return row | {"id": f"{domain}-train-{number}", "messages": [{"role": "user", "content": content}]}


def _prediction(item: Row, model: str, hard: float, rng: np.random.Generator, words: int) -> Row:
    right = rng.random() < (SKILL[model] if rng.random() < 0.5 else float(hard < SKILL[model]))
    cut = not right and rng.random() < 0.1
    partial = [0.0, 0.25, 0.5][rng.integers(3)] if item["domain"] == "aiops" else 0.0
    filler = " ".join(f"token{number}" for number in rng.integers(0, 5_000, words))
    status = "correct" if right else "truncated" if cut else str(rng.choice(["wrong", "no_answer"]))
    return item | {
        "response": f"{HOSTILE[rng.integers(len(HOSTILE))]} {filler}",
        "finish_reason": "length" if cut and int(item["id"].rpartition("-")[2]) % 4 else "stop",
        "num_tokens": int(words * 1.3),
        "score": 1.0 if right else partial,
        "status": status,
        "extracted": None if status == "no_answer" else "<b>42</b>",
        "details": {DETAILS[item["domain"]]: right} if item["domain"] in DETAILS else {},
    }


def _fidelity(row: Row, model: str, rng: np.random.Generator) -> Row:
    tokens = 20 + 37 * sum(map(ord, row["id"])) % 180  # the same answer for every model
    kl = DISTANCE[model] * float(rng.lognormal(0, 0.5))
    agreement = 1.0 if model == "teacher" else max(0.0, 0.95 - kl / 2)
    return {
        "id": row["id"],
        "domain": row["domain"],
        "num_tokens": tokens,
        "kl_sum": kl * tokens,
        "top1_sum": agreement * tokens,
        "nll_sum": (0.3 + kl) * tokens,
    }


def _model_metrics(model: str) -> dict[str, Any]:
    big = model == "teacher"
    return {
        "parameters": 1_543_714_304 if big else 494_032_768,
        "weight_bytes": 3_087_428_608 if big else 988_065_536,
        "tokens_per_second": 41.5 if big else 103.2,
        "peak_memory_bytes": 5_400_000_000 if big else 2_100_000_000,
        "generated_tokens": 27_300,
        "seconds": 657.8 if big else 264.5,
        "sandbox": "bubblewrap",
    }


def _write_training(run_dir: RunDir, models: tuple[str, ...], rng: np.random.Generator) -> None:
    _manifest(
        run_dir,
        "prepare",
        controls={"aiops": {"gold": 1.0, "log_echo": 0.02, "keyword_stuffing": 0.12, "blind_en": 0.98}},
    )
    _manifest(
        run_dir, "generate", num_responses=3_100, num_rejected=64, num_tokens=182_000, truncated=12,
        mean_score={"math": 0.8, "code": 0.5}, tries=[{"try": 1, "asked": 3_164, "correct": 2_900}],
        tokens_per_second=38.25, peak_memory_bytes=5_400_000_000,
    )  # fmt: skip
    for arm in ("sft", "kd", "opd"):
        if f"student_{arm}" not in models:
            continue
        decay = [1.1 * float(np.exp(-step / 60)) + 0.4 + float(rng.normal(0, 0.03)) for step in range(1, 200, 5)]
        divergence = [0.0 if arm == "sft" else value * 0.7 for value in decay]
        terms = enumerate(zip(decay, divergence, strict=True))
        _write(run_dir.root / arm / "metrics.jsonl", [_step(index, *pair) for index, pair in terms])
        if arm != "opd":
            rows = [_heldout_step(step, decay[step // 5] + 0.1) for step in range(0, 200, 39)]
            _write(run_dir.root / arm / "heldout_metrics.jsonl", rows)
        held_out = {} if arm == "opd" else {"held_out": 16}
        _manifest(
            run_dir, arm, **held_out, num_sequences=3_100, dropped_overlong=4, cut_overlong=0, num_tokens=181_000,
            steps=196, seconds=812.0, tokens_per_second=222.9, peak_memory_bytes=6_100_000_000, final_loss=decay[-1],
            warnings=["4 of 3104 sequences were longer than max_length=2048 and were dropped"],
        )  # fmt: skip


def _step(index: int, ce: float, divergence: float) -> Row:
    return {
        "step": 1 + 5 * index, "epoch": index / 40, "loss": 0.5 * ce + 2 * divergence if divergence else ce, "ce": ce,
        "divergence": divergence, "learning_rate": 2e-4, "grad_norm": 0.7, "num_tokens": 900,
    }  # fmt: skip


def _heldout_step(step: int, ce: float) -> Row:
    return {"step": step, "loss": 1.5 * ce, "ce": ce, "divergence": ce / 2}


def _manifest(run_dir: RunDir, stage: str, **metrics: Any) -> None:
    Manifest(
        stage=stage,
        config={"seed": 42},
        inputs={},
        outputs={},
        versions={"torch": "2.13.0", "transformers": "5.17.0", "python": "3.11.7"},
        git_commit="0123456789abcdef0123456789abcdef01234567",
        seed=42,
        device="cpu",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=float(metrics.get("seconds", 12.5)),
        metrics=cast(StageMetrics, metrics),
        machine=MACHINE | {"gpus": [] if stage == "prepare" else 2 * [{"name": "Acme T1", "memory_bytes": 80 << 30}]},
    ).save(run_dir.manifest(stage))


def load_results(run_dir: RunDir) -> Any:
    """results.json as any reader sees it."""
    return json.loads(run_dir.results.read_text(encoding="utf-8"))
