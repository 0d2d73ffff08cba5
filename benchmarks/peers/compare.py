"""One distillation with l2s and with the script that a competent user writes with TRL: time, memory, lines, scores.

    python benchmarks/peers/compare.py --preset tiny          two-layer models, to see that it works
    python benchmarks/peers/compare.py --preset smollm        SmolLM2-135M and its pruned copy, as in the demo
    python benchmarks/peers/compare.py --teacher DIR --student DIR --data_dir DATA --math_source gsm8k --train 160 \
        --eval 64 --max_new_tokens 512 --json qwen.json

Both do the same job on this machine, one after the other: the teacher answers the training problems, the student learns
them by SFT and then by KD (forward KL, T=1, no cross-entropy), and teacher, base, SFT and KD student answer the
evaluation problems. Models, problems, LoRA, rates, sequences of an update, batch sizes and dtype are the same. Every
round runs both, in alternating order; ratios are medians over the rounds. The answers of both are graded by l2s.

Time is what the clock on the wall shows, with the start of each process. Memory is the peak of the process that trains,
or torch's peak on a GPU. l2s keeps its teacher out of the training: before, a stage of its own records the teacher's
hidden states, and its time counts as KD. l2s also writes checkpoints, checksums and its report; the script does not.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, describe_machine
from l2s.jsonl import load_jsonl
from l2s.models import demo
from l2s.models.tiny import save_tiny_model
from l2s.run_dir import Manifest, RunDir
from l2s.tasks.table import task_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODELS = ("teacher", "student_base", "student_sft", "student_kd")
STEPS = ("answer", "sft", "kd", "evaluate")
SCRIPT = HERE / "with_trl.py"
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "train": 8, "eval": 4, "max_new_tokens": 16, "batch_size": 2, "accumulation": 2, "rounds": 1,
        "math_source": "one_step", "max_length": 512,
    },
    "smollm": {
        "teacher": demo.TEACHER, "student": demo.STUDENT, "train": 128, "eval": 64, "max_new_tokens": 32,
        "batch_size": 4, "accumulation": 1, "rounds": 2, "math_source": "one_step", "max_length": 256,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run of the whole job: seconds and peak bytes of its steps, training steps and scores of its models."""

    seconds: float
    step_seconds: dict[str, float]
    peak_bytes: dict[str, int]
    training_steps: dict[str, int]
    scores: dict[str, float]


Pick = Callable[[Measured], float]


def experiment(arguments: argparse.Namespace, folder: Path) -> ExperimentConfig:
    """The job as a configuration of l2s."""
    return ExperimentConfig(
        experiment_name="l2s",
        output_dir=folder,
        processed_dir=folder / "processed",
        run_all=True,
        teacher_model=arguments.teacher,
        student_model=arguments.student,
        data_dir=arguments.data_dir,
        domains="math",
        math_source=arguments.math_source,
        math_train_size=arguments.train,
        math_eval_size=arguments.eval,
        dtype=arguments.dtype,
        engine="transformers",
        max_new_tokens=arguments.max_new_tokens,
        max_length=arguments.max_length,
        generation_batch_size=arguments.generation_batch_size,
        eval_batch_size=arguments.generation_batch_size,
        tuning="lora",
        gradient_checkpointing=arguments.gradient_checkpointing,
        gradient_accumulation_steps=arguments.accumulation,
        sft_epochs=arguments.epochs,
        kd_epochs=arguments.epochs,
        sft_batch_size=arguments.batch_size,
        kd_batch_size=arguments.batch_size,
        sft_lr=arguments.lr,
        kd_lr=arguments.lr,
        temperature=1.0,
        alpha=0.0,
        heldout_answers=0,  # the script measures nothing while it trains
        fidelity_size=0,  # nor how close its students come to the teacher
    )


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
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job_of(config, items, folder)))
    took, peaks = {}, {}
    for step in STEPS:
        out = folder / f"{step}.json"
        took[step] = timed(
            [sys.executable, str(HERE / "measured.py"), str(out), str(SCRIPT), step, str(folder / "job.json")]
        )
        peaks[step] = int(json.loads(out.read_text())["peak_memory_bytes"])
    scores = {model: mean_score(load_jsonl(folder / f"predictions_{model}.jsonl"), config) for model in MODELS}
    training_steps = {arm: int((folder / arm / "steps").read_text()) for arm in ("sft", "kd")}
    return Measured(sum(took.values()), took, peaks, training_steps, scores)


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


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    counted: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not is_text:
            body: list[ast.stmt] = getattr(node, "body", [])
            last = body[0].lineno - 1 if body else node.end_lineno
            counted |= set(range(node.lineno, (last or node.lineno) + 1))
    lines = source.splitlines()
    return sum(1 for number in counted if lines[number - 1].strip() and not lines[number - 1].lstrip().startswith("#"))


def median(rounds: list[Measured], pick: Pick) -> float:
    """The median of one figure over the rounds."""
    return float(statistics.median(pick(one) for one in rounds))


def seconds_of(step: str) -> Pick:
    """Picks the seconds of a step."""
    return lambda one: one.step_seconds[step]


def memory_of(step: str) -> Pick:
    """Picks the peak bytes of a step."""
    return lambda one: one.peak_bytes[step]


def table(found: dict[str, list[Measured]]) -> list[tuple[str, float, float, float, str]]:
    """Rows of figure, l2s, TRL, the median of the rounds' ratios l2s / TRL, and unit."""
    rows: list[tuple[str, float, float, float, str]] = []

    def add(name: str, unit: str, ours: Pick, theirs: Pick, scale: float = 1.0) -> None:
        ratio = statistics.median(ours(a) / theirs(b) for a, b in zip(found["l2s"], found["trl"], strict=True))
        rows.append((name, median(found["l2s"], ours) / scale, median(found["trl"], theirs) / scale, ratio, unit))

    add("whole job", "s", lambda one: one.seconds, lambda one: one.seconds)
    for step in STEPS:
        seconds = seconds_of(step)
        add(step, "s", seconds, seconds)
    for step in STEPS:
        memory = memory_of(step)
        add(f"{step}, peak memory", "GiB", memory, memory, 2**30)
    recording = memory_of("score")
    add("recording for kd, peak memory", "GiB", recording, memory_of("kd"), 2**30)
    return rows


def show(found: dict[str, list[Measured]], arguments: argparse.Namespace) -> None:
    """Print the tables."""
    print(f"\n| {'':46} | {'l2s':>8} | {'TRL':>8} | l2s / TRL |\n|---|---:|---:|---:|")
    for name, ours, theirs, ratio, unit in table(found):
        print(f"| {f'{name}, {unit}':46} | {ours:8.2f} | {theirs:8.2f} | {ratio:9.2f} |")
    print(f"| {'lines of code of the user':46} | {1:8} | {code_lines(SCRIPT):8} | {'':9} |")
    steps = {name: rounds[0].training_steps for name, rounds in found.items()}
    print(
        f"\ntraining steps: {steps}; scores (exact match, n={arguments.eval}), median over {arguments.rounds} rounds:"
    )
    for model in MODELS:
        scores = {name: statistics.median(one.scores[model] for one in rounds) for name, rounds in found.items()}
        print(f"  {model:14} l2s {scores['l2s']:.1%}   TRL {scores['trl']:.1%}")


def parse() -> argparse.Namespace:
    """The command line; a preset's values stand where no flag does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS)
    parser.add_argument("--teacher", help="hub name or folder")
    parser.add_argument("--student", help="hub name or folder")
    parser.add_argument("--data_dir", type=Path, help="folder with gsm8k/, for --math_source gsm8k")
    parser.add_argument("--math_source", default="gsm8k", choices=("gsm8k", "synthetic", "one_step"))
    parser.add_argument("--train", type=int, default=160, help="training problems")
    parser.add_argument("--eval", type=int, default=64, help="evaluation problems")
    parser.add_argument("--max_new_tokens", type=int, default=512)
    parser.add_argument("--max_length", type=int, default=2048)
    parser.add_argument("--generation_batch_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=2, help="sequences of a micro-batch")
    parser.add_argument("--accumulation", type=int, default=4, help="micro-batches of an update")
    parser.add_argument("--epochs", type=int, default=1, help="of SFT, and of KD")
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--dtype", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in alternating order")
    parser.add_argument("--json", type=Path, help="file for all figures")
    preset = parser.parse_known_args()[0].preset
    parser.set_defaults(**PRESETS.get(preset, {}))
    arguments = parser.parse_args()
    if preset != "tiny" and not (arguments.teacher and arguments.student):
        parser.error("give --preset, or --teacher and --student")
    return arguments


def main() -> None:
    """Prepare the models and the problems, run both ways, print and write what was found."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.preset == "tiny" and not arguments.teacher:
            for field, seed, hidden_size in (("teacher", 1, 64), ("student", 2, 32)):
                save_tiny_model(folder / field, seed=seed, hidden_size=hidden_size, vocab_size=304, tied=True)
                setattr(arguments, field, str(folder / field))
        for field in ("teacher", "student"):
            setattr(arguments, field, demo.locate(getattr(arguments, field)))
            demo.build_if_missing(Path(getattr(arguments, field)))
        arguments.dtype = choose_dtype(ExperimentConfig(dtype=arguments.dtype)).name
        config = experiment(arguments, folder / "outputs")
        items = write_items(config, folder)
        found: dict[str, list[Measured]] = {"l2s": [], "trl": []}
        for number in range(arguments.rounds):
            for way in ("l2s", "trl") if number % 2 == 0 else ("trl", "l2s"):
                print(f"round {number + 1} of {arguments.rounds}: {way}", flush=True)
                one = run_l2s(config) if way == "l2s" else run_trl(config, items, folder / "trl")
                found[way].append(one)
                print(f"  {one.seconds:.0f} s", flush=True)
    show(found, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(found, arguments), indent=1) + "\n")


def write_items(config: ExperimentConfig, folder: Path) -> dict[str, Path]:
    """The problems that l2s prepares, for the script."""
    task = task_of("math")
    found = {"train": task.train_items(config), "eval": task.eval_items(config)}
    for split, rows in found.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {split: folder / f"{split}.jsonl" for split in found}


def as_json(found: dict[str, list[Measured]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings, machine, versions, the table and every round."""
    packages = ("torch", "transformers", "peft", "trl")
    return {
        "settings": {name: str(value) for name, value in vars(arguments).items() if name != "json"},
        "machine": describe_machine(),
        "versions": {package: version(package) for package in packages},
        "code_lines": {"l2s": 1, "trl": code_lines(SCRIPT)},
        "table": [dict(zip(("figure", "l2s", "trl", "ratio", "unit"), row, strict=True)) for row in table(found)],
        "rounds": {way: [vars(one) for one in rounds] for way, rounds in found.items()},
    }


if __name__ == "__main__":
    main()
