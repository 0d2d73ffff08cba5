"""One distillation with l2s and with its peers: time, memory, lines of the user, scores.

    python benchmarks/peers/compare.py --preset tiny          two-layer models, to see that it works
    python benchmarks/peers/compare.py --preset smollm        SmolLM2-135M and its pruned copy, as in the demo
    python benchmarks/peers/compare.py --teacher DIR --student DIR --data_dir DATA --math_source gsm8k --train 160 \
        --eval 64 --max_new_tokens 512 --json qwen.json

The peers are with_trl.py, the script that a competent user writes with TRL, and distill-anything where it can be
imported, whose command line has the same steps (`pip install --target DIR --no-deps distill-anything==0.5.0 typer click
shellingham`, then PYTHONPATH=DIR; l2s has installed what else it imports). All do the same job on this machine, one
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
import importlib.util
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.peers.figures import Rounds, show, table, user_lines
from benchmarks.peers.job import PRESETS, Measured, experiment, write_items
from benchmarks.peers.ways import PACKAGES, PEERS, run_l2s
from l2s.config import ExperimentConfig
from l2s.devices import choose_dtype, describe_machine
from l2s.models import demo
from l2s.models.tiny import save_tiny_model


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
    """Prepare the pair and the problems, let every way do the job in each round, print and write what was found."""
    arguments = parse()
    asked = {name: Path(str(value)).name for name, value in vars(arguments).items() if name != "json"}
    ways = ("l2s", *chosen_peers(arguments.peers))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_pair(arguments, folder)
        arguments.dtype = choose_dtype(ExperimentConfig(dtype=arguments.dtype)).name
        config = experiment(arguments, folder / "outputs")
        items = write_items(config, folder)
        found: dict[str, list[Measured]] = {way: [] for way in ways}
        for number in range(arguments.rounds):
            for way in ways[:: -1 if number % 2 else 1]:
                print(f"round {number + 1} of {arguments.rounds}: {way}", flush=True)
                one = run_l2s(config) if way == "l2s" else PEERS[way](config, items, folder / way)
                found[way].append(one)
                print(f"  {one.seconds:.0f} s", flush=True)
            lines = user_lines(folder / "distill-anything")
            if arguments.json:  # after each round: the next may fail
                settings = asked | {"dtype": arguments.dtype}
                arguments.json.write_text(json.dumps(as_json(found, lines, settings), indent=1) + "\n")
    show(found, lines, arguments.eval)


def prepare_pair(arguments: argparse.Namespace, folder: Path) -> None:
    """Make the two models where they are tiny or the demo's, and name their folders in `arguments`."""
    if arguments.preset == "tiny" and not arguments.teacher:
        for field, seed, hidden_size in (("teacher", 1, 64), ("student", 2, 32)):
            save_tiny_model(folder / field, seed=seed, hidden_size=hidden_size, vocab_size=304, tied=True)
            setattr(arguments, field, str(folder / field))
    for field in ("teacher", "student"):
        setattr(arguments, field, demo.locate(getattr(arguments, field)))
        demo.build_if_missing(Path(getattr(arguments, field)))


def chosen_peers(named: str) -> list[str]:
    """The peers to run; one that is not installed is left out of `all`, and said so."""
    peers = list(PEERS) if named == "all" else [name.strip() for name in named.split(",")]
    if unknown := set(peers) - PEERS.keys():
        sys.exit(f"--peers {named}: {', '.join(sorted(unknown))} is no peer; there are {', '.join(PEERS)}")
    missing = [peer for peer in peers if importlib.util.find_spec(PACKAGES[peer]) is None]
    if missing and named != "all":
        sys.exit(f"--peers {named}: {', '.join(missing)} is not installed")
    for peer in missing:
        print(f"{peer} is not installed and is left out")
    return [peer for peer in peers if peer not in missing]


def as_json(found: Rounds, lines: dict[str, int], settings: dict[str, str]) -> dict[str, Any]:
    """Settings, machine, versions, the table and every round."""
    packages = ["torch", "transformers", "peft", *(way for way in found if way != "l2s")]
    return {
        "settings": settings,
        "machine": describe_machine(),
        "versions": {package: version(package) for package in packages},
        "user_lines": {way: lines[way] for way in found},
        "table": table(found),
        "rounds": {way: [vars(one) for one in rounds] for way, rounds in found.items()},
    }


if __name__ == "__main__":
    main()
