"""An experiment from the first check to the last report: what `l2s run` does, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from l2s.arms import ARMS, original
from l2s.config import ExperimentConfig
from l2s.devices import SHARED_MEMORY, choose_dtype, has_shared_memory
from l2s.durable import remove_partials
from l2s.errors import UserError, shown
from l2s.generation.context import unused_contexts
from l2s.generation.whose_answers import unused_references
from l2s.jsonl import cut_unfinished_line
from l2s.links import check_links
from l2s.run_dir import RunDir
from l2s.runner.executors import USER_ERROR, Executor, LocalExecutor
from l2s.runner.freshness import State, changed_inputs, changed_unnoticed, other_versions, state_of
from l2s.runner.pipeline import STAGES, Stage
from l2s.runner.placement import Devices, find_devices
from l2s.runner.preflight import (
    ASK_TRAINING_ITEMS,
    check_benchmarks,
    check_machine,
    check_models,
    check_settings,
    check_sharding,
    model_fields,
)
from l2s.runner.schedule import Outcome, Schedule
from l2s.runner.selection import flag_of, needs_of, requested_stages, select_stages, settle
from l2s.runner.versions import require_same
from l2s.terminal import quiet_libraries
from l2s.visible import in_one_line

if TYPE_CHECKING:
    from l2s.runner.cluster.nodes import Cluster

# What a dry run says of a stage behind others that run: whether they change its inputs is not known before.
AFTER_OTHERS: dict[State, str] = {
    "run": "run",
    "resume": "resume, or run if its inputs change",
    "skip": "run if its inputs change",
}

console = Console(highlight=False, soft_wrap=True)


def run_experiment(config: ExperimentConfig, *, force: bool = False) -> None:
    """Run the stages that `config` asks for; finished stages are skipped, interrupted ones resumed.

    Raises:
        UserError: an error that the user can fix; most are found before any model is loaded.
    """
    if config.executor == "local":
        _run(config, None, force=force)
        return
    from l2s.runner.cluster.connect import connected

    with connected(config) as cluster:
        _run(config, cluster, force=force)


def _run(config: ExperimentConfig, cluster: Cluster | None, *, force: bool) -> None:
    config = settle(config)
    stages, requested = select_stages(config), requested_stages(config)
    check_settings(config, stages)
    run_dir = RunDir.of(config)
    config = _settle_dtype(config, run_dir)
    devices = cluster.devices if cluster else find_devices(config)
    _warn_of_shared_memory(devices)
    if {stage.name for stage in stages} & set(ARMS):
        check_sharding(config, on_cpu=devices.kind == "cpu")
    check_models(config, stages)
    check_machine(config, stages)
    check_benchmarks(config, stages)
    from l2s.plan import before_run  # needs torch

    quiet_libraries()
    run_dir.create()
    with run_dir.lock() as lock_fd:
        if cluster:
            _join(cluster, config, run_dir, stages)

        def state_now(stage: Stage) -> State:
            return state_of(stage, config, run_dir, requested=stage.name in requested, force=force)

        states = {stage.name: state_now(stage) for stage in stages}  # refuses other settings before anything runs
        _say_what_changed(stages, states, config, run_dir)
        _say_unused_settings(states, config)
        plan = before_run.plan_run(config, [stage for stage in stages if states[stage.name] != "skip"], devices)
        run_dir.save_config(config)
        if plan:
            before_run.save(plan, run_dir)
            console.print(before_run.in_one_line(plan), style="dim")
        cut_unfinished_line(run_dir.log_file)
        remove_partials(run_dir.root)
        run_dir.log("run", stages=states)
        coming = [stage for stage in stages if states[stage.name] != "skip" and not cluster]
        with closing(LocalExecutor(devices, lock_fd, config, coming)) as local:
            executor: Executor = local
            if cluster:
                from l2s.runner.cluster.executor import RayExecutor

                executor = RayExecutor(cluster, config, run_dir, stages, lock_fd)
            outcome = Schedule(stages, config, run_dir, devices, executor, state_now, console).run()
        _publish(run_dir)
    if outcome.failed:
        _report_failure(outcome, run_dir)
    _print_result(config, run_dir, stages)


def _warn_of_shared_memory(devices: Devices) -> None:
    """Say so where processes of several GPUs may lack the room to meet. Some need little, so it is no error."""
    if devices.kind == "gpu" and len(devices) > 1 and not devices.machines and not has_shared_memory():
        console.print(
            f"{SHARED_MEMORY} is smaller than 1 GiB: NCCL and vLLM, which join several GPUs, may fail; start the "
            "container with --shm-size 8g or --ipc host (in Kubernetes, mount an emptyDir of medium Memory there)",
            style="yellow",
            markup=False,
        )


def _say_what_changed(stages: list[Stage], states: dict[str, State], config: ExperimentConfig, run_dir: RunDir) -> None:
    """Print which inputs have changed and what that does, and with which other versions stages were made.

    Raises:
        UserError: results of other versions would be mixed.
    """
    _say_changed_files(stages, states, config, run_dir)
    differing = {
        stage.name: found
        for stage in stages
        if states[stage.name] != "run" and (found := other_versions(stage, config, run_dir))
    }
    to_run = [stage.name for stage in stages if states[stage.name] != "skip" and not stage.always_run]
    if note := require_same(differing, to_run, config):
        console.print(f"stages {note}", style="yellow", markup=False)


def _say_unused_settings(states: Mapping[str, State], config: ExperimentConfig) -> None:
    """Print what was asked for and does nothing in this run. It is no error: presets and files serve many runs."""
    asking = any(state != "skip" and original(name) in ASK_TRAINING_ITEMS for name, state in states.items())
    notes = []
    if asking and (unused := unused_contexts(config)):
        shown_contexts = f"teacher_context={shown(config.teacher_context)}"
        notes.append(f"{shown_contexts}: not used for {', '.join(unused)}, of which this run has no training items")
    if asking and (unused := unused_references(config)):
        answers = f"answers={shown(config.answers)}"
        notes.append(f"{answers}: not used for {', '.join(unused)}, of which this run has no training items")
    training = any(original(name) in ARMS for name in states)
    if config.lm_eval_tasks and training and not any(name.startswith("lm_eval_") for name in states):
        tasks = f"lm_eval_tasks={shown(config.lm_eval_tasks)}"
        notes.append(f"{tasks}: not used, because this run evaluates no model; add --run_eval")
    for note in notes:
        console.print(note, style="yellow", markup=False)


def _say_changed_files(
    stages: list[Stage], states: dict[str, State], config: ExperimentConfig, run_dir: RunDir
) -> None:
    """Print what is read again because it has changed, and what is not because its stage was not asked for."""
    requested = requested_stages(config)
    for stage in stages:
        if states[stage.name] == "run" and not stage.always_run:
            for name in changed_inputs(stage, config, run_dir):
                said = f"{stage.name} runs again, and then the stages that read what has changed in its files"
                console.print(f"{in_one_line(name)} has changed: {said}", markup=False)
        if states[stage.name] == "skip" and stage.name not in requested:
            for name in changed_unnoticed(stage, config, run_dir):
                said = f"is used as it was then; `l2s run` with --{flag_of(stage)} reads it again"
                line = f"{in_one_line(name)} has changed since {stage.name} read it, and {said}"
                console.print(line, style="yellow", markup=False)


def _join(cluster: Cluster, config: ExperimentConfig, run_dir: RunDir, stages: Sequence[Stage]) -> None:
    """Let the nodes of a cluster take part, and show them."""
    from l2s.runner.cluster.checks import check_devices, check_nodes
    from l2s.runner.cluster.connect import join
    from l2s.runner.cluster.nodes import answering

    check_devices(cluster, config, stages)
    with answering(cluster):
        join(cluster, config, run_dir)
        check_nodes(cluster, config, stages, sorted(model_fields(stages, config)))
    for line in cluster.lines():
        console.print(line, style="dim", markup=False)


def dry_run(config: ExperimentConfig, *, force: bool = False) -> None:
    """Print the resolved configuration and what a run would do with each stage; change nothing."""
    config = settle(config)
    stages, requested = select_stages(config), requested_stages(config)
    check_settings(config, stages)
    run_dir = RunDir.of(config)
    config = _settle_dtype(config, run_dir)
    console.print(f"[bold]Configuration[/bold] of {escape(in_one_line(str(run_dir.root)))}")
    for name, value in config.model_dump(mode="json").items():
        console.print(f"  {name}: {in_one_line(str(value))}", markup=False)
    console.print("[bold]Stages[/bold]")
    states = {
        stage.name: state_of(stage, config, run_dir, requested=stage.name in requested, force=force) for stage in stages
    }
    may_run: set[str] = set()
    for stage in stages:
        state = states[stage.name]
        after_others = bool(may_run & set(needs_of(stage, config)))
        if state != "skip" or (after_others and stage.name in requested):
            may_run.add(stage.name)
        words = AFTER_OTHERS[state] if after_others and stage.name in may_run else state
        console.print(f"  {stage.name:<22} {words}")
    _say_changed_files(stages, states, config, run_dir)
    _say_unused_settings(states, config)


def _settle_dtype(config: ExperimentConfig, run_dir: RunDir) -> ExperimentConfig:
    """Replace dtype=auto by the dtype that the experiment started with, or else by the best one for this machine.

    An experiment that moves to another kind of machine keeps its dtype, because its stages must fit together.
    """
    if config.dtype != "auto":
        return config
    here, begun = choose_dtype(config), run_dir.begun_dtype()
    if begun is None or begun == here.name:
        name, reason = here.name, here.reason
    else:
        name, reason = begun, f"as this experiment began; here auto alone would be {here.name}: {here.reason}"
    console.print(f"dtype: {name} ({reason})", style="dim", markup=False)
    return config.model_copy(update={"dtype": name})


def rebuild_report(root: Path, *, lang: str | None = None) -> None:
    """Rewrite the reports of the experiment in `root` from its files alone.

    Raises:
        UserError: `root` is not the folder of an experiment, or holds a link that leads out of it.
    """
    from l2s.report import stage as report

    run_dir = RunDir(root)
    config = run_dir.load_config()
    check_links(run_dir.root)
    report.run(config.model_copy(update={"lang": lang}) if lang else config, run_dir)
    _print_result(config, run_dir, [STAGES["report"]])


def _report_failure(outcome: Outcome, run_dir: RunDir) -> None:
    """Report which stages failed and which were not run because of that.

    Raises:
        SystemExit: the user can fix every failure, and its stage has said how.
        UserError: another failure.
    """
    lost = f"; not run: {', '.join(outcome.lost)}" if outcome.lost else ""
    if set(outcome.failed.values()) == {USER_ERROR}:
        if lost:
            console.print(f"[red]{', '.join(outcome.failed)} failed{lost}[/red]")
        raise SystemExit(USER_ERROR)
    parts = [
        f"stage {name} ended with status {code} (see {log if (log := run_dir.stage_log(name)).exists() else 'above'})"
        for name, code in outcome.failed.items()
    ]
    raise UserError(f"{', '.join(parts)}{lost}; the same command resumes there")


def _publish(run_dir: RunDir) -> None:
    """Link outputs/NAME/final_model to the student that was trained last."""
    for model in (run_dir.arm(name).final_model for name in reversed(ARMS)):
        if model.exists():
            run_dir.publish_model(model)
            return


def _print_result(config: ExperimentConfig, run_dir: RunDir, stages: list[Stage]) -> None:
    if any(stage.name == "report" for stage in stages):
        from l2s.report.text.console import print_summary

        print_summary(run_dir, console)
    for label, path in (
        ("answers", run_dir.responses),
        *((f"{arm.title} student", run_dir.arm(name).final_model) for name, arm in ARMS.items()),
        ("results", run_dir.results),
        ("report", run_dir.comparison_report),
        ("browser report", run_dir.browser_report),
        ("table", run_dir.comparison_table),
    ):
        if path.exists():
            console.print(f"{label:<15} {in_one_line(str(path))}", markup=False)
