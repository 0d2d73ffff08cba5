"""Archives of finished experiments: all predictions, results.json, settings and manifests; no weights, no signals."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "benchmarks" / "experiment" / "results"
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
    "sft/never_right.jsonl",
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
