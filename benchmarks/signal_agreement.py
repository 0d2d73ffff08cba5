"""KD with each teacher signal on real models: do the losses agree, and what does each signal cost?

    python benchmarks/signal_agreement.py outputs/NAME --items 64

Takes a run with its teacher's answers (and the SFT student, if KD starts from it), keeps an evenly spaced part of the
answers, and runs the stages score and kd on them once for every signal, each in its own process: same student, same
answers, same order. All settings are those of the run, except the size of the updates. The run itself is only read.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from l2s.config import ExperimentConfig
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir

SCORE, KD = "l2s.signals.score", "l2s.training.kd"
SIGNALS = ("online", "hidden", "topk")


@dataclass(frozen=True)
class Result:
    """The result of a KD training; losses are compared with those of the online teacher at the same update."""

    signal: str
    losses: list[float]
    divergences: list[float]
    largest_loss_difference: float
    mean_loss_difference: float  # signed mean of the differences
    tokens_per_second: float  # answer tokens in KD
    kd_seconds: float
    score_seconds: float
    kd_peak_gib: float
    disk_mib: float
    topk_error: float | None  # error of a token's divergence, as the stage states it before training
    largest_divergence_difference: float


def run_stage(module: str, config: ExperimentConfig, root: Path, results: Any) -> None:
    """Run the stage of a module and write its metrics."""
    results[module] = importlib.import_module(module).run(config, RunDir(root))


def measure(signal: str, source: RunDir, config: ExperimentConfig, rows: list[Any], parent: Path) -> dict[str, Any]:
    """Run one signal in its own folder; return the metrics of its stages and the rows of its updates."""
    run_dir = RunDir(parent / signal)
    run_dir.sft.mkdir(parents=True)
    write_jsonl(run_dir.responses, rows)
    if source.sft_model.exists():
        run_dir.sft_model.symlink_to(source.sft_model.resolve())
    config = config.model_copy(update={"teacher_signal": signal})
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        for module in (KD,) if signal == "online" else (SCORE, KD):
            process = context.Process(target=run_stage, args=(module, config, run_dir.root, results))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{signal}: {module} ended with status {process.exitcode}")
        return dict(results) | {"steps": load_jsonl(run_dir.kd / "metrics.jsonl")}


def summarise(signal: str, found: dict[str, Any], online: dict[str, Any]) -> Result:
    losses = [row["loss"] for row in found["steps"]]
    reference = [row["loss"] for row in online["steps"]]
    differences = [loss / other - 1 for loss, other in zip(losses, reference, strict=True)]
    score = found.get(SCORE, {"seconds": 0.0, "bytes": 0})
    return Result(
        signal=signal,
        losses=losses,
        divergences=[row["divergence"] for row in found["steps"]],
        largest_loss_difference=max(map(abs, differences)),
        mean_loss_difference=statistics.mean(differences),
        tokens_per_second=found[KD]["tokens_per_second"],
        kd_seconds=found[KD]["seconds"],
        score_seconds=score["seconds"],
        kd_peak_gib=found[KD]["peak_memory_bytes"] / 2**30,
        disk_mib=score["bytes"] / 2**20,
        largest_divergence_difference=max(
            abs(row["divergence"] / other["divergence"] - 1)
            for row, other in zip(found["steps"], online["steps"], strict=True)
        ),
        topk_error=found[KD].get("topk_divergence_error"),
    )


def print_table(results: list[Result], items: int, tokens: int) -> None:
    steps = len(results[0].losses)
    print(f"\n{items} answers, {tokens:,} answer tokens, {steps} updates; losses against those of the online teacher\n")
    print("| signal | first loss | last loss | largest difference | mean | largest of the divergence | stated |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for r in results:
        stated = "" if r.topk_error is None else f"{r.topk_error:.1%}"
        print(
            f"| {r.signal} | {r.losses[0]:.5f} | {r.losses[-1]:.5f} | {r.largest_loss_difference:.1e} "
            f"| {r.mean_loss_difference:+.1e} | {r.largest_divergence_difference:.1e} | {stated} |"
        )
    print("\n| signal | score, s | KD, s | KD answer tokens/s | KD peak memory, GiB | disk, MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for r in results:
        print(
            f"| {r.signal} | {r.score_seconds:.0f} | {r.kd_seconds:.0f} | {r.tokens_per_second:.1f} "
            f"| {r.kd_peak_gib:.1f} | {r.disk_mib:.1f} |"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, outputs/NAME")
    parser.add_argument("--signals", nargs="+", choices=SIGNALS[1:], default=SIGNALS[1:], help="beside online")
    parser.add_argument("--items", type=int, default=64, help="answers to train on, spread over those of the run")
    parser.add_argument("--batch_size", type=int, default=4, help="sequences of a batch")
    parser.add_argument("--accumulation", type=int, default=1, help="batches of an update")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], help="of both models, if not that of the run")
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    source = RunDir(arguments.run)
    settings = yaml.safe_load(source.config_file.read_text())
    changed = {
        "kd_epochs": 1,
        "kd_batch_size": arguments.batch_size,
        "gradient_accumulation_steps": arguments.accumulation,
    }
    if arguments.dtype:  # with LoRA on plain weights: NF4 would round them
        changed |= {"dtype": arguments.dtype, "tuning": "lora"}
    config = ExperimentConfig(**settings | changed)
    rows = list(load_jsonl(source.responses))
    rows = [rows[number * len(rows) // arguments.items] for number in range(arguments.items)]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for signal in (SIGNALS[0], *arguments.signals):
            found[signal] = measure(signal, source, config, rows, Path(folder))
    results = [summarise(signal, found[signal], found["online"]) for signal in (SIGNALS[0], *arguments.signals)]
    print_table(results, len(rows), sum(row["num_tokens"] for row in found["online"]["steps"]))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
