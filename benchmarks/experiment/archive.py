"""Keep experiments in the repository, small: every prediction, results.json, settings and manifests; no weights.

    python benchmarks/experiment/archive.py pack outputs/experiment/NAME ...
    python benchmarks/experiment/archive.py unpack NAME --output_dir outputs/kept

The first writes benchmarks/experiment/results/NAME.tar.xz, the second outputs/kept/NAME. There,
`l2s report outputs/kept/NAME` rebuilds the report, and refuses files that have changed since their stage wrote them.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
KEPT = (
    "config.yaml",
    "results.json",
    "plan.json",
    "data/*.jsonl",
    "manifests/*.json",
    "*/manifest.json",
    "*/metrics.jsonl",
    "*/heldout_metrics.jsonl",
    "sft/sft_train_data.jsonl",
    "sft/rejected.jsonl",
    "evaluation/predictions/*.jsonl",
    "evaluation/fidelity/*.jsonl",
)
UNFINISHED = (".started.json", ".partial.jsonl")


def kept_files(run_dir: Path) -> list[Path]:
    """The files of an experiment that its report is made from, sorted."""
    found = {path for pattern in KEPT for path in run_dir.glob(pattern)}
    return sorted(path for path in found if not path.name.endswith(UNFINISHED))


def pack(run_dir: Path, folder: Path = RESULTS) -> Path:
    """Write `folder`/NAME.tar.xz; the same files give the same bytes.

    Raises:
        SystemExit: there is no report in `run_dir` yet.
    """
    if not (run_dir / "results.json").exists():
        raise SystemExit(f"{run_dir}: holds no results.json; run the experiment to its report first")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{run_dir.name}.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in kept_files(run_dir):
            entry = tarfile.TarInfo(f"{run_dir.name}/{path.relative_to(run_dir)}")  # without time and owner
            entry.size = path.stat().st_size
            tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return archive


def unpack(name: str, output_dir: Path, folder: Path = RESULTS) -> Path:
    """Write `output_dir`/`name` from its archive; returns that folder.

    Raises:
        SystemExit: there is no such archive, or the folder exists.
    """
    archive, target = folder / f"{name}.tar.xz", output_dir / name
    if not archive.exists():
        raise SystemExit(f"{name}: no such archive; there are {', '.join(archived(folder))}")
    if target.exists():
        raise SystemExit(f"{target}: exists; choose another --output_dir")
    with tarfile.open(archive) as tar:
        tar.extractall(output_dir, filter="data")
    return target


def archived(folder: Path = RESULTS) -> list[str]:
    """The names of the archived experiments."""
    return sorted(path.name.removesuffix(".tar.xz") for path in folder.glob("*.tar.xz"))


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="archive finished experiments")
    packing.add_argument("run_dirs", type=Path, nargs="+", metavar="outputs/experiment/NAME")
    unpacking = commands.add_parser("unpack", help="write archived experiments to a folder")
    unpacking.add_argument("names", nargs="*", metavar="NAME", help="experiments [all]")
    unpacking.add_argument("--output_dir", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        done = [pack(run_dir) for run_dir in arguments.run_dirs]
    else:
        done = [unpack(name, arguments.output_dir) for name in arguments.names or archived()]
    print(*done, sep="\n")


if __name__ == "__main__":
    main()
