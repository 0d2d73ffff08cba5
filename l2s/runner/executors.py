"""Runs stages, each in its own processes, so that a device is empty when the next one starts.

`python -m l2s.runner.executors RUN_DIR STAGE STATE` is such a process. `torchrun --nproc_per_node N -m
l2s.runner.executors ...` starts N ranks that share the work of a stage, if the stage allows it.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from l2s.config import ExperimentConfig
from l2s.devices import (
    CORES,
    REPLICA,
    choose_dtype,
    describe_machine,
    device_name,
    does_what_is_done_once,
    leave_others,
    process_count,
    stay_on_cores,
    wait_for_others,
)
from l2s.durable import as_write_error, guard, open_in_place
from l2s.errors import UserError, no_permission
from l2s.interrupts import GRACE_S, LAUNCHER, end_on_request
from l2s.links import check_links
from l2s.run_dir import Manifest, RunDir, fingerprint
from l2s.runner.disk_space import explain
from l2s.runner.fork_server import ForkServer
from l2s.runner.freshness import State, begin, clear_scratch, settings_of
from l2s.runner.pipeline import Stage, stage_of
from l2s.runner.placement import Devices, Placement, asks_a_server
from l2s.runner.versions import git_commit, package_versions
from l2s.secret_variables import ENDPOINT_KEY, HUB_TOKENS, without_secrets
from l2s.terminal import protect_output, quiet_libraries
from l2s.visible import visible

USER_ERROR, INTERRUPTED = 2, 130
LAST_WORDS = "L2S_LAST_WORDS"  # environment variable: the pipe on which a stage that has a log says why it failed
MOST_WORDS = 3000  # bytes: what a pipe takes in one piece, and no reader has to wait for
# Variables of a torchrun. Kubeflow and SageMaker set some of them for a container that is to be one of several ranks; a
# run that starts there is alone, and says itself which of its processes are ranks.
OF_A_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
NODE_LOST = 75  # a machine of a cluster is gone, and the stage can resume without it (EX_TEMPFAIL in sysexits.h)


class Job(Protocol):
    """A running stage."""

    def poll(self) -> int | None:
        """The exit status once all processes have ended (0: the stage is done), None before."""
        ...

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the processes to end, and kill them after GRACE_S or at once; call it until `poll` returns a status."""
        ...


class Executor(Protocol):
    """Starts stages on the devices that placement chose: on this machine, or on a cluster.

    Attributes:
        shares_console: a stage that runs alone may print to the console instead of a log.
    """

    shares_console: bool

    def lost_devices(self) -> frozenset[int]:
        """Devices that are gone since the run began; a job that had some of them ends with NODE_LOST."""
        ...

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> Job:
        """Start `stage`, whose `begin` was called, as one process for each of `groups`; output goes to `log`, if any.

        Each replica sees the devices of its group, ranks see all devices. `stage.resources` says which kind they are.
        """
        ...


class Process(Protocol):
    """The part of `subprocess.Popen` that a job uses; `pid` is None before it has begun."""

    @property
    def pid(self) -> int | None:
        """See Popen."""
        ...

    def poll(self) -> int | None:
        """See Popen."""
        ...

    def terminate(self) -> None:
        """See Popen."""
        ...


class LocalExecutor:
    """Runs stages as processes of this machine."""

    shares_console = True

    def __init__(
        self, devices: Devices, lock_fd: int, config: ExperimentConfig | None = None, coming: Sequence[Stage] = ()
    ) -> None:
        """Start what starts stages.

        Args:
            devices: those of this machine.
            lock_fd: the lock of the run.
            config: without one, stages ask no server.
            coming: the stages that will be started; several on a CPU are forked.
        """
        self.devices = devices
        self.config = config
        self.lock_fd = lock_fd  # children inherit the lock: a child that outlives a killed parent keeps other runs out
        forked = [stage for stage in coming if _may_be_forked(stage)]
        self.server: ForkServer | None = None
        if len(forked) > 1 and devices.kind == "cpu" and sys.platform == "linux":
            computing = [stage for stage in forked if stage.resources.spread != "none"]  # not the one report
            modules = dict.fromkeys(stage.function.split(":")[0] for stage in computing)
            self.server = ForkServer("l2s.runner.executors", tuple(modules), _environment(devices, (), (), ()))

    def close(self) -> None:
        """End what starts stages, after the last one."""
        if self.server:
            self.server.close()

    def start(self, stage: Stage, run_dir: RunDir, groups: Sequence[Placement], *, log: Path | None) -> LocalJob:
        """See `Executor`. Each process leads its own process group, so that everything it starts is ended with it."""
        arguments = [str(run_dir.root), stage.name, "resume"]
        job = LocalJob()
        ranks = stage.resources.spread == "ranks" and len(groups) > 1
        together = job.open_store(len(groups)) if ranks else {}
        visible = tuple(chain.from_iterable(groups))
        secrets = hub_tokens_of(stage.name)
        if self.config and asks_a_server(stage, self.config):
            secrets = (*secrets, ENDPOINT_KEY)
        with ExitStack() as opened:
            output = opened.enter_context(open_in_place(log, "ab")) if log else None
            words = opened.enter_context(job.open_words(log)) if log else None
            for number, group in enumerate(groups):
                own = {REPLICA: f"{number}/{len(groups)}"} if len(groups) > 1 else {}
                if ranks:
                    own |= together | {"RANK": str(number), "LOCAL_RANK": str(number)}
                environment = _environment(self.devices, visible if ranks else group, group, secrets) | own
                server = self.server if _may_be_forked(stage) else None
                job.processes.append(self._start_process(server, arguments, environment, output, words))
        return job

    def _start_process(
        self,
        server: ForkServer | None,
        arguments: list[str],
        environment: dict[str, str],
        output: BinaryIO | None,
        words: BinaryIO | None,
    ) -> Process:
        """A process of a stage; it writes to `output` (None: the console), and its last words to `words`."""
        kept = [self.lock_fd, *([words.fileno()] if words else [])]
        if server and server.is_alive:
            console = [output.fileno()] * 2 if output else [1, 2]
            return server.start(arguments, environment, [*console, *kept], {LAST_WORDS: 3} if words else {})
        environment |= {LAST_WORDS: str(words.fileno())} if words else {}
        return subprocess.Popen(
            [sys.executable, "-m", "l2s.runner.executors", *arguments],
            pass_fds=kept,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            process_group=0,
        )

    def lost_devices(self) -> frozenset[int]:
        """See `Executor`."""
        return frozenset()


class LocalJob:
    """The processes of a stage on this machine. If one fails, the others are ended."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.failed: int | None = None  # status of the process that failed first
        self.deadline: float | None = None
        self.store: Any = None
        self.words: BinaryIO | None = None  # the end of the pipe on which its processes say why they failed
        self.log: Path | None = None

    def open_words(self, log: Path) -> BinaryIO:
        """The writing end of a pipe for the last words of processes that write `log`."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)  # whoever else holds the writing end may live on
        self.words, self.log = os.fdopen(reading, "rb"), log
        return os.fdopen(writing, "wb")

    def _repeat_last_words(self) -> None:
        """Print what a process said of its failure and could not write to its log."""
        if self.words is None or self.log is None:
            return
        with self.words as pipe:
            lines = (pipe.read() or b"").decode(errors="replace").splitlines()
        self.words = None
        logged = self.log.read_text(encoding="utf-8", errors="replace") if lines and self.log.exists() else ""
        for line in lines:
            if line not in logged:
                print(line, file=sys.stderr, flush=True)

    def open_store(self, count: int) -> dict[str, str]:
        """Open the store through which `count` ranks meet, at a free port, and return its address.

        torchrun's agent does the same, but its workers would not inherit the lock.
        """
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        return {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
        }

    def poll(self) -> int | None:
        """See `Job`."""
        codes = [process.poll() for process in self.processes]
        self.failed = self.failed or next((code for code in codes if code), None)
        if None not in codes:
            for process in self.processes:
                _kill_group(process)
            self._repeat_last_words()
            return self.failed or 0
        if self.failed:
            self.stop()
        return None

    def stop(self, *, at_once: bool = False) -> None:
        """See `Job`."""
        alive = [process for process in self.processes if process.poll() is None]
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_S
            for process in alive:
                process.terminate()
        if at_once or time.monotonic() > self.deadline:
            for process in alive:
                _kill_group(process)


def _may_be_forked(stage: Stage) -> bool:
    """All but the first, which needs few libraries and need not wait until the others' are imported."""
    return bool(stage.needs)


def _kill_group(process: Process) -> None:
    if process.pid is None:
        process.terminate()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment(devices: Devices, visible: Placement, own: Placement, secrets: Sequence[str]) -> dict[str, str]:
    """The environment of a stage's process: its visible GPUs, or the cores of its CPU workers."""
    environment = {name: value for name, value in stage_environment(secrets).items() if name not in OF_A_TORCHRUN}
    gpus = visible if devices.kind == "gpu" else ()
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices.names[number] for number in gpus)
    if devices.kind == "cpu" and len(devices) > 1 and own:
        cores = ",".join(devices.names[number] for number in own)
        environment |= {CORES: cores, "OMP_NUM_THREADS": str(len(cores.split(",")))}
    return environment


def hub_tokens_of(stage: str) -> tuple[str, ...]:
    """The variables with a token of the hub that a stage gets: any may load a model or a data set but the report."""
    return () if stage == "report" else HUB_TOKENS


def stage_environment(secrets: Sequence[str]) -> dict[str, str]:
    """What the environment of a stage's process has beside its devices; of all secrets only the variables `secrets`."""
    environment = {"HF_HUB_DISABLE_TELEMETRY": "1"}  # TRL reports each training where nobody says no
    environment |= without_secrets(os.environ, keep=secrets)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_package_root(), os.getenv("PYTHONPATH")]))
    environment[LAUNCHER] = str(os.getpid())
    environment["PYTHONUNBUFFERED"] = "1"  # what a killed process printed is in the log
    return environment


def run_stage(stage: Stage, config: ExperimentConfig, run_dir: RunDir, state: State) -> None:
    """Run `stage` in this process, from the start or resumed, then write its manifest and remove its scratch files.

    Under torchrun the processes share the work of a stage; the first one does all that is done once.

    Raises:
        UserError: from the stage itself, or its work cannot be shared.
    """
    if process_count() > 1 and stage.resources.spread != "ranks":
        raise UserError(f"stage {stage.name}: its work cannot be shared by {process_count()} processes; run one alone")
    check_links(run_dir.root)  # a link may have come since the run began
    guard(run_dir.root)
    inputs = begin(stage, config, run_dir, state) if does_what_is_done_once() else {}
    started_at, start = datetime.now(UTC), time.monotonic()
    module, function = stage.function.split(":")
    wait_for_others(config)
    work = getattr(importlib.import_module(module), function)
    metrics = work(stage.settings(config), run_dir.of_copy(stage.copy), **stage.arguments)
    wait_for_others(config)
    if not does_what_is_done_once():
        return
    gives = stage.gives(run_dir, config)
    made = [*gives, *stage.logs(run_dir, config)]
    outputs = {str(path.relative_to(run_dir.root)): fingerprint(path) for path in made if path.exists()}
    Manifest(
        stage=stage.name,
        config=settings_of(stage, config),
        inputs=inputs,
        outputs=outputs,
        versions=package_versions(),
        git_commit=git_commit(),
        seed=stage.settings(config).seed,
        device=device_name(config),
        machine=describe_machine(),
        dtype_reason=_dtype_reason(config) if "dtype" in stage.reads else None,
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 3),
        metrics=metrics,
    ).save(run_dir.manifest(stage.name))
    clear_scratch(stage, config, run_dir)


def _dtype_reason(config: ExperimentConfig) -> str:
    """Why the stage computed in `config.dtype`, and what `auto` would choose on this machine."""
    auto = choose_dtype(config.model_copy(update={"dtype": "auto"}))
    return auto.reason if auto.name == config.dtype else f"set, or as the experiment began; here {auto.reason}"


def _package_root() -> str:
    return str(Path(__file__).resolve().parents[2])


def _complain(line: str) -> None:
    """Say what is wrong in the log, and to the run directly: the disk of the log may be full."""
    line = visible(line)
    print(line, file=sys.stderr, flush=True)
    if pipe := os.environ.get(LAST_WORDS):
        os.write(int(pipe), line.encode()[:MOST_WORDS] + b"\n")


def main(root: str, name: str, state: State) -> int:
    """Entry point of a stage's process."""
    protect_output()
    end_on_request()
    stay_on_cores()
    return status_of_stage(RunDir(Path(root)), name, state)


def status_of_stage(run_dir: RunDir, name: str, state: State) -> int:
    """Run a stage in this process and turn what can go wrong into an exit status."""
    quiet_libraries()
    try:
        config = run_dir.load_config()
        run_stage(stage_of(name, config), config, run_dir, state)
    except UserError as error:
        _complain(f"l2s {name}: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if failure := as_write_error(error, run_dir.root):
            config = run_dir.load_config()
            _complain(f"l2s {name}: {explain(failure, stage_of(name, config), config, run_dir)}")
            return USER_ERROR
        if isinstance(error, PermissionError):
            _complain(f"l2s {name}: {no_permission(error)}")
            return USER_ERROR
        traceback.print_exc()
        return 1
    leave_others()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]
    finally:
        gc.freeze()  # as in l2s/__main__.py
