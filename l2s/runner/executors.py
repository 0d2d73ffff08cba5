"""Where stages run: each in a process of its own, so that a device is empty when the next one starts.

`python -m l2s.runner.executors RUN_DIR STAGE STATE` is that process. `torchrun --nproc_per_node N -m
l2s.runner.executors ...` starts N ranks that share the work of a stage, where the stage allows it.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from l2s import __version__
from l2s.config import ExperimentConfig
from l2s.devices import describe_machine, device_name, leave_others, process_count, process_rank, wait_for_others
from l2s.errors import UserError
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.freshness import State, begin, remove, settings_of
from l2s.runner.pipeline import STAGES, Stage

USER_ERROR, INTERRUPTED = 2, 130
PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "datasets", "trl")


class StageError(RuntimeError):
    """A stage ended without its result; `code` is the exit status of its process."""

    def __init__(self, stage: str, code: int) -> None:
        super().__init__(f"stage {stage} ended with status {code}")
        self.stage, self.code = stage, code


class LocalExecutor:
    """Runs stages one after another as processes of this machine."""

    def run(self, stage: Stage, run_dir: RunDir, state: State, *, lock_fd: int) -> None:
        """Run `stage` to its end.

        The child inherits the lock, so a child that outlives a killed parent still keeps other runs out.

        Raises:
            StageError: the process ended with another status than 0.
            KeyboardInterrupt: the user interrupted; the child has ended too.
        """
        command = [sys.executable, "-m", "l2s.runner.executors", str(run_dir.root), stage.name, state]
        environment = {"HF_HUB_DISABLE_TELEMETRY": "1"} | os.environ  # TRL reports each training where nobody says no
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_package_root(), os.getenv("PYTHONPATH")]))
        process = subprocess.Popen(command, pass_fds=[lock_fd], env=environment)
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # a second one is harmless where the terminal already sent it
            process.wait()
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
        if code != 0:
            raise StageError(stage.name, code)


def run_stage(stage: Stage, config: ExperimentConfig, run_dir: RunDir, state: State) -> None:
    """Run `stage` in this process, afresh or from where it was, then write its manifest and clear its scratch.

    Under torchrun the processes share the work of a stage; the first one does all that is done once.

    Raises:
        UserError: what the stage itself says, or its work cannot be shared.
    """
    if process_count() > 1 and not stage.shared:
        raise UserError(f"stage {stage.name}: its work cannot be shared by {process_count()} processes; run one alone")
    inputs = begin(stage, config, run_dir, state) if process_rank() == 0 else {}
    started_at, start = datetime.now(UTC), time.monotonic()
    module, function = stage.function.split(":")
    wait_for_others(config)
    metrics = getattr(importlib.import_module(module), function)(config, run_dir, **stage.arguments)
    wait_for_others(config)
    if process_rank() != 0:
        return
    outputs = {
        str(path.relative_to(run_dir.root)): fingerprint(path) for path in stage.gives(run_dir, config) if path.exists()
    }
    Manifest(
        stage=stage.name,
        config=settings_of(stage, config),
        inputs=inputs,
        outputs=outputs,
        versions=package_versions(),
        git_commit=git_commit(),
        seed=config.seed,
        device=device_name(config),
        machine=describe_machine(),
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 3),
        metrics=metrics,
    ).save(run_dir.manifest(stage.name))
    gives = stage.gives(run_dir, config)
    for path in (run_dir.started(stage.name), *stage.scratch(run_dir, config)):
        if path not in gives:
            remove(path)


def package_versions() -> dict[str, str]:
    """Versions of Python, l2s and the packages that decide numbers; a package that is missing is left out."""
    versions = {"python": sys.version.split()[0], "l2s": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def quiet_libraries() -> None:
    """Keep progress bars and deprecation notes of libraries out of the output; stages report progress themselves."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of an optional kernel on the hub
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def git_commit() -> str | None:
    """The commit of the checkout that l2s runs from, marked where files differ from it; None outside a checkout."""
    command = ["git", "-C", _package_root(), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _package_root() -> str:
    return str(Path(__file__).resolve().parents[2])


def main(root: str, name: str, state: State) -> int:
    """Entry of a stage's own process: run it and turn what can go wrong into an exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    quiet_libraries()
    run_dir = RunDir(Path(root))
    try:
        run_stage(STAGES[name], run_dir.load_config(), run_dir, state)
    except UserError as error:
        print(f"l2s {name}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        return 1
    leave_others()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]
