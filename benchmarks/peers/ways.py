"""The ways to do the job, each in processes of its own: l2s, a script with TRL, and distill-anything's commands."""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.job import MODELS, STEPS, Measured
from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl
from l2s.run_dir import Manifest, RunDir
from l2s.tasks.table import task_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPT = HERE / "with_trl.py"


def run_l2s(config: ExperimentConfig) -> Measured:
    """`l2s run` in a process of its own; steps are read from its log, and memory from its manifests."""
    run_dir = RunDir.of(config)
    shutil.rmtree(run_dir.root, ignore_errors=True)
    flags = config.model_dump(mode="json", exclude_defaults=True)
    command = [sys.executable, "-m", "l2s.cli", "run"]
    for name, value in flags.items():
        command += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    seconds = timed(command)
    begun: dict[str, float] = {}
    took: dict[str, float] = {}
    for row in load_jsonl(run_dir.log_file):
        if row["event"] == "stage_start":
            begun[row["stage"]] = row["time"]
        elif row["event"] == "stage_end":
            took[row["stage"]] = row["time"] - begun[row["stage"]]
    metrics = {stage: manifest.metrics for stage in took if (manifest := Manifest.load(run_dir.manifest(stage)))}
    results = json.loads(run_dir.results.read_text())["evaluation"]
    evaluations = [stage for stage in took if stage.startswith("evaluate_")]
    return Measured(
        seconds,
        {
            "answer": took["generate"],
            "sft": took["sft"],
            "kd": took["score"] + took["kd"],
            "evaluate": sum(took[stage] for stage in evaluations),
        },
        {
            "answer": peak(metrics["generate"]),
            "sft": peak(metrics["sft"]),
            "score": peak(metrics["score"]),
            "kd": peak(metrics["kd"]),
            "evaluate": max(peak(metrics[stage]) for stage in evaluations),
        },
        {arm: int(metrics[arm]["steps"]) for arm in ("sft", "kd")},
        {model: float(results[model]["domain_results"]["math"]["main_metric"]) for model in MODELS},
    )


def peak(metrics: Any) -> int:
    """The peak memory of a stage."""
    return int(metrics["peak_memory_bytes"])


def run_trl(config: ExperimentConfig, items: dict[str, Path], folder: Path) -> Measured:
    """The steps of with_trl.py, each in a process of its own."""
    job = write_job(config, items, folder)
    found = {step: measured([str(SCRIPT), step, str(job)], folder / f"{step}.json") for step in STEPS}
    training_steps = {arm: int((folder / arm / "steps").read_text()) for arm in ("sft", "kd")}
    return of_peer(found, training_steps, config, folder)


def run_distill_anything(config: ExperimentConfig, items: dict[str, Path], folder: Path) -> Measured:
    """distill-anything's own commands; the students are evaluated by with_trl.py."""
    job = write_job(config, items, folder)
    spec = importlib.util.find_spec(PACKAGES["distill-anything"])
    command = str(Path(str(spec and spec.origin)).parent / "cli.py")
    prompts, answers = folder / "prompts.jsonl", folder / "answers.jsonl"
    asked = [{"prompt": row["messages"][-1]["content"]} for row in load_jsonl(items["train"])]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in asked))
    generate = [command, "generate", str(prompts), "--out", str(answers), "--teacher", f"hf:{config.teacher_model}"]
    generate += ["--max-tokens", str(config.max_new_tokens), "--eval-fraction", "0"]
    found = {"answer": measured(generate, folder / "answer.json")}
    training_steps = {}
    for arm, student in (("sft", config.student_model), ("kd", str(folder / "sft" / "final_model"))):
        recipe = folder / f"{arm}.yaml"
        recipe.write_text(json.dumps(recipe_of(arm, student, config, folder)))  # JSON is YAML
        found[arm] = measured([command, "train", str(recipe)], folder / f"{arm}.json")
        rows = load_jsonl(folder / arm / "final_model" / "metrics.jsonl")
        training_steps[arm] = max(int(row["step"]) for row in rows)
    found["evaluate"] = measured([str(SCRIPT), "evaluate", str(job)], folder / "evaluate.json")
    return of_peer(found, training_steps, config, folder)


def recipe_of(arm: str, student: str, config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    """distill-anything's recipe for SFT (its mode seqkd) or KD; what is left out has its defaults."""
    return {
        "mode": "seqkd" if arm == "sft" else "logit",
        "teacher": {"spec": f"hf:{config.teacher_model}"},
        "student": {
            "model": student,
            "lora": {
                "r": config.lora_r, "alpha": config.lora_alpha, "dropout": 0.0,
                "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            },
        },
        "data": {
            "path": str(folder / "answers.jsonl"), "max_seq_len": config.max_length, "eval_fraction": 0.0,
            "dedup": False,
        },
        "loss": {"kind": "forward_kl", "temperature": 1.0, "alpha": 1.0},
        "train": {
            "output_dir": str(folder / arm / "final_model"), "lr": config.sft_lr, "epochs": config.sft_epochs,
            "batch_size": config.sft_batch_size, "grad_accum": config.gradient_accumulation_steps,
            "warmup_ratio": config.warmup_ratio, "weight_decay": 0.0, "seed": config.seed, "log_every": 1,
            "gradient_checkpointing": config.gradient_checkpointing,
        },
    }  # fmt: skip


PEERS: dict[str, Callable[[ExperimentConfig, dict[str, Path], Path], Measured]] = {
    "trl": run_trl,
    "distill-anything": run_distill_anything,
}
PACKAGES = {"trl": "trl", "distill-anything": "distillanything"}  # what a peer imports


def write_job(config: ExperimentConfig, items: dict[str, Path], folder: Path) -> Path:
    """An empty folder for a peer, with the settings of with_trl.py."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = folder / "job.json"
    job.write_text(json.dumps(job_of(config, items, folder)))
    return job


def measured(command: list[str], out: Path) -> tuple[float, int]:
    """Seconds and peak bytes of a script with its arguments, in a process of its own."""
    seconds = timed([sys.executable, str(HERE / "measured.py"), str(out), *command])
    return seconds, int(json.loads(out.read_text())["peak_memory_bytes"])


def of_peer(
    found: dict[str, tuple[float, int]], training_steps: dict[str, int], config: ExperimentConfig, folder: Path
) -> Measured:
    """What a peer's steps took, and the grades of the answers that they left."""
    seconds = {step: took for step, (took, _) in found.items()}
    scores = {model: mean_score(load_jsonl(folder / f"predictions_{model}.jsonl"), config) for model in MODELS}
    peaks = {step: peak for step, (_, peak) in found.items()}
    return Measured(sum(seconds.values()), seconds, peaks, training_steps, scores)


def job_of(config: ExperimentConfig, items: dict[str, Path], folder: Path) -> dict[str, Any]:
    """The settings that with_trl.py reads."""
    return {
        "folder": str(folder),
        "teacher": config.teacher_model,
        "student": config.student_model,
        "train_items": str(items["train"]),
        "eval_items": str(items["eval"]),
        "epochs": config.sft_epochs,
        "batch_size": config.sft_batch_size,
        "learning_rate": config.sft_lr,
        **config.model_dump(
            mode="json",
            include={
                "dtype", "generation_batch_size", "max_new_tokens", "gradient_accumulation_steps", "warmup_ratio",
                "gradient_checkpointing", "max_length", "seed", "lora_r", "lora_alpha",
            },
        ),
    }  # fmt: skip


def mean_score(rows: list[dict[str, Any]], config: ExperimentConfig) -> float:
    """The mean grade of answers, by l2s's grader."""
    task = task_of("math")
    grades = [task.grade(row, row["response"], row["finish_reason"], config) for row in rows]  # type: ignore[arg-type]
    return statistics.mean(grade.score if grade else 0.0 for grade in grades)


def timed(command: list[str]) -> float:
    """Run a command, and return the seconds that it took; its output is shown only if it fails."""
    begin = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - begin
