"""One distillation with l2s and with its peers: time, memory, lines of the user, scores.

    python benchmarks/peers/compare.py --preset tiny          two-layer models, to see that it works
    python benchmarks/peers/compare.py --preset smollm        SmolLM2-135M and its pruned copy, as in the demo
    python benchmarks/peers/compare.py --teacher DIR --student DIR --data_dir DATA --math_source gsm8k --train 160 \
        --eval 64 --max_new_tokens 512 --json qwen.json

The peers are with_trl.py, the script that a competent user writes with TRL, and distill-anything where it is installed
(`pip install distill-anything==0.5.0`), whose command line has the same steps. All do the same job on this machine, one
after the other: the teacher answers the training problems, the student learns them by SFT and then by KD (forward KL,
T=1, no cross-entropy), and teacher, base, SFT and KD student answer the evaluation problems. Models, problems, LoRA,
rates and sequences of an update are the same; batch sizes and dtype too, where a peer has a choice. distill-anything
answers one prompt at a time, chooses its own dtype and grades with another model, so its students are evaluated by
with_trl.py. Every round runs all, and every second round in reverse order; ratios are medians over the rounds. All
answers are graded by l2s.

Time is what the clock on the wall shows, with the start of each process. Memory is the peak of the process that trains,
or torch's peak on a GPU. l2s keeps its teacher out of the training: before, a stage of its own records the teacher's
hidden states, and its time counts as KD. l2s also writes checkpoints, checksums and its report; the others do not.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
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
        "teacher": demo.TEACHER, "student": demo.STUDENT, "train": 64, "eval": 32, "max_new_tokens": 32,
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


def seconds_of(step: str) -> Pick:
    """Picks the seconds of a step."""
    return lambda one: one.step_seconds[step]


def memory_of(step: str) -> Pick:
    """Picks the peak bytes of a step."""
    return lambda one: one.peak_bytes[step]


def table(found: dict[str, list[Measured]]) -> list[dict[str, Any]]:
    """Rows of a figure: its unit, the median of each way, and the median of the rounds' ratios of l2s to each peer."""
    rows = [row_of("whole job", "s", found, lambda one: one.seconds)]
    rows += [row_of(step, "s", found, seconds_of(step)) for step in STEPS]
    rows += [row_of(f"{step}, peak memory", "GiB", found, memory_of(step)) for step in STEPS]
    return [*rows, row_of("recording for kd, peak memory", "GiB", found, memory_of("kd"), of_l2s=memory_of("score"))]


def row_of(
    figure: str, unit: str, found: dict[str, list[Measured]], pick: Pick, *, of_l2s: Pick | None = None
) -> dict[str, Any]:
    """One row of the table; `of_l2s` is for a figure that l2s has in another place."""
    scale = 2**30 if unit == "GiB" else 1
    picks = {way: of_l2s if of_l2s and way == "l2s" else pick for way in found}
    values = {way: [picks[way](one) / scale for one in rounds] for way, rounds in found.items()}
    ratios = {
        way: statistics.median(ours / theirs for ours, theirs in zip(values["l2s"], of_peer, strict=True))
        for way, of_peer in values.items()
        if way != "l2s"
    }
    medians = {way: statistics.median(of_way) for way, of_way in values.items()}
    return {"figure": figure, "unit": unit, "median": medians, "ratio": ratios}


def user_lines(folder: Path) -> dict[str, int]:
    """Lines that the user writes: a command, the script, or the recipes and commands of distill-anything.

    The last needs a script of the user's for its evaluation as well, which is not counted.
    """
    recipes = sum(recipe_lines(json.loads(path.read_text())) for path in folder.glob("*.yaml"))
    return {"l2s": 1, "trl": code_lines(SCRIPT), "distill-anything": recipes + 3}


def recipe_lines(value: Any) -> int:
    """Lines of a recipe as YAML, a key a line."""
    return sum(1 + recipe_lines(one) for one in value.values()) if isinstance(value, dict) else 0


def show(found: dict[str, list[Measured]], lines: dict[str, int], arguments: argparse.Namespace) -> None:
    """Print one table: costs with their ratios, then what the user writes, updates, and scores."""
    ratios = [f"l2s / {way}" for way in found if way != "l2s"]
    none = [""] * len(ratios)
    rows = [["", *found, *ratios]]
    for row in table(found):
        cells = [*row["median"].values(), *row["ratio"].values()]
        rows.append([f"{row['figure']}, {row['unit']}", *(f"{cell:.2f}" for cell in cells)])
    rows.append(["lines of the user", *(str(lines[way]) for way in found), *none])
    for arm in ("sft", "kd"):
        rows.append([f"updates of {arm}", *(str(rounds[0].training_steps[arm]) for rounds in found.values()), *none])
    for model in MODELS:
        scores = [statistics.median(one.scores[model] for one in rounds) for rounds in found.values()]
        rows.append([f"{model}, exact match, n={arguments.eval}", *(f"{score:.1%}" for score in scores), *none])
    for number, cells in enumerate(rows):
        print(f"| {cells[0]:38} | {' | '.join(f'{cell:>22}' for cell in cells[1:])} |")
        if number == 0:
            print(f"|---|{'---:|' * len(cells[1:])}")


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
    parser.add_argument("--peers", default="all", help="all that are installed, or some of trl,distill-anything")
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
        found: dict[str, list[Measured]] = {way: [] for way in ("l2s", *chosen_peers(arguments.peers))}
        for number in range(arguments.rounds):
            for way in list(found)[:: -1 if number % 2 else 1]:
                print(f"round {number + 1} of {arguments.rounds}: {way}", flush=True)
                one = run_l2s(config) if way == "l2s" else PEERS[way](config, items, folder / way)
                found[way].append(one)
                print(f"  {one.seconds:.0f} s", flush=True)
        lines = user_lines(folder / "distill-anything")
    show(found, lines, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(found, lines, arguments), indent=1) + "\n")


def chosen_peers(named: str) -> list[str]:
    """The peers to run; one that is not installed is left out of `all`, and said so."""
    peers = list(PEERS) if named == "all" else named.split(",")
    missing = [peer for peer in peers if importlib.util.find_spec(PACKAGES[peer]) is None]
    if missing and named != "all":
        sys.exit(f"--peers {named}: {', '.join(missing)} is not installed")
    for peer in missing:
        print(f"{peer} is not installed and is left out")
    return [peer for peer in peers if peer not in missing]


def write_items(config: ExperimentConfig, folder: Path) -> dict[str, Path]:
    """The problems that l2s prepares, for the script."""
    task = task_of("math")
    found = {"train": task.train_items(config), "eval": task.eval_items(config)}
    for split, rows in found.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {split: folder / f"{split}.jsonl" for split in found}


def as_json(found: dict[str, list[Measured]], lines: dict[str, int], arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings, machine, versions, the table and every round."""
    packages = ["torch", "transformers", "peft", *(way for way in found if way != "l2s")]
    return {
        "settings": {name: str(value) for name, value in vars(arguments).items() if name != "json"},
        "machine": describe_machine(),
        "versions": {package: version(package) for package in packages},
        "user_lines": {way: lines[way] for way in found},
        "table": table(found),
        "rounds": {way: [vars(one) for one in rounds] for way, rounds in found.items()},
    }


if __name__ == "__main__":
    main()
