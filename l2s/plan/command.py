"""The command: sizes of the two models, a table of the stages, what does not fit, and what the figures assume."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.models import demo
from l2s.plan.advice import USABLE, changes_that_fit, fits, least_memory
from l2s.plan.estimates import ASKED_AGAIN, ESTIMATES, FILE_BYTES_S, START_S, Estimate, Situation, estimate
from l2s.plan.hardware import GIB, Hardware, find_hardware
from l2s.plan.model_size import ModelSize, lora_parameters, size_of
from l2s.report.text.formats import NONE, short_count, size
from l2s.run_dir import Manifest, RunDir
from l2s.runner.executors import quiet_libraries
from l2s.runner.pipeline import select_stages, settle
from l2s.runner.preflight import check_settings

CPU_FACTOR, CUDA_FACTOR = 2.0, 3.0
CPU_EVIDENCE = "X"
COLUMNS = ("weights", "optimizer", "activations", "cache", "buffers", "memory")
FILE_WIDTH = 120  # of the table where the output is no terminal


def run_plan(config: ExperimentConfig, *, gpu: str | None = None, gpus: int = 1) -> bool:
    """Print the plan of an experiment on the device `gpu`, or on the one that is here; False where it does not fit.

    Raises:
        UserError: a wrong setting, an unknown GPU, or a model whose configuration cannot be had.
    """
    if gpus < 1:
        raise UserError(f"--gpus {gpus}: must be at least 1")
    quiet_libraries()
    config = settle(config)
    stages = select_stages(config)
    check_settings(config, stages)
    if gpu is not None and config.dtype == "auto":
        config = config.model_copy(update={"dtype": "bfloat16"})  # every GPU of the table computes it
    hardware = find_hardware(config, gpu)
    for name in (config.teacher_model, config.student_model):
        demo.build_if_missing(Path(name))
    situation = Situation(
        config,
        hardware,
        teacher=size_of(config.teacher_model, config),
        student=size_of(config.student_model, config),
        lora_parameters=lora_parameters(config.student_model, config),
    )
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    names = [stage.name for stage in stages if stage.name in ESTIMATES]
    estimates = {name: estimate(name, situation) for name in names}
    _print_models(console, situation, gpus)
    console.print(stage_table(estimates, hardware, _manifests(RunDir.of(config), names)))
    advice = [line for name in names if (line := advise(name, situation))]
    for line in advice:
        console.print(f"[red]{line}[/red]")
    if len(names) < len(stages):
        console.print("[dim]lm-evaluation-harness is not estimated: its length is that of its tasks.[/dim]")
    for line in assumptions(situation):
        console.print(f"[dim]{line}[/dim]")
    return not advice


def _print_models(console: Console, situation: Situation, gpus: int) -> None:
    config, hardware = situation.config, situation.hardware
    console.print(f"[bold]Plan[/bold] of {RunDir.of(config).root}")
    console.print(
        f"  device   {hardware.name}: {hardware.memory / GIB:.0f} GiB, {hardware.products / 1e12:.3g} TFLOP/s, "
        f"{hardware.bandwidth / 1e9:.3g} GB/s, {hardware.layer_seconds * 1e3:.2g} ms to launch a layer "
        f"({hardware.origin})"
    )
    if gpus > 1:
        console.print(f"           a stage runs on one of the {gpus} devices, and stages run one after another")
    console.print(f"  teacher  {_model_line(config.teacher_model, situation.teacher)}")
    console.print(f"  student  {_model_line(config.student_model, situation.student)}")
    console.print(f"           {short_count(situation.trainable)} weights trained ({config.tuning})")


def _model_line(name: str, model: ModelSize) -> str:
    active = ""
    if model.num_experts:
        active = (
            f", {short_count(model.active_parameters)} in a token, {short_count(model.linear_parameters)} "
            "in linear layers (int8 and NF4 leave experts as they are)"
        )
    return (
        f"{name}: {short_count(model.parameters)} parameters{active}; "
        f"{size(model.checkpoint_bytes)} on disk, {size(model.cache_bytes)} of KV cache a token"
    )


def stage_table(estimates: dict[str, Estimate], hardware: Hardware, manifests: dict[str, Manifest]) -> Table:
    """A row a stage and one of totals: time adds up, disk too, memory is that of the fullest stage."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("GiB")
    for header in (*COLUMNS, "disk", "scratch", "time", *(["measured"] if manifests else [])):
        table.add_column(header, justify="right")
    for name, found in estimates.items():
        sizes = (*found.memory.parts(), found.memory.total, found.disk, found.scratch)
        table.add_row(
            name,
            *map(_gib, sizes),
            rough_duration(found.seconds),
            *([_measured(manifests.get(name))] if manifests else []),
            style=None if found.memory.total <= USABLE * hardware.memory else "red",
        )
    table.add_section()
    done = [manifest.seconds for manifest in manifests.values()]
    table.add_row(
        "all",
        *[""] * (len(COLUMNS) - 1),
        _gib(max(found.memory.total for found in estimates.values())),
        _gib(sum(found.disk for found in estimates.values())),
        _gib(max(found.scratch for found in estimates.values())),
        rough_duration(sum(found.seconds for found in estimates.values())),
        *([rough_duration(sum(done))] if manifests else []),
    )
    return table


def advise(stage: str, situation: Situation) -> str | None:
    """One line where `stage` does not fit: what to change to what, or that nothing helps."""
    if fits(stage, situation):
        return None
    needed, there = estimate(stage, situation).memory.total, situation.hardware.memory
    changes = changes_that_fit(stage, situation)
    problem = f"{stage}: {_gib(needed)} GiB do not fit into {_gib(there)} GiB"
    if changes is None:
        least = _gib(least_memory(stage, situation))
        return f"{problem}, and the settings bring it to {least} GiB at best; take a smaller model or a larger device"
    flags = " ".join(f"--{name} {str(value).lower()}" for name, value in changes.items())
    after = estimate(stage, situation.changed(changes)).memory.total
    return f"{problem}; with {flags} it takes {_gib(after)} GiB"


def assumptions(situation: Situation) -> list[str]:
    """What the figures rest on, to be read with them."""
    config, hardware = situation.config, situation.hardware
    texts = situation.training_texts + situation.evaluation_texts
    lengths = dict.fromkeys(f"{text.source} {text.prompt:.0f} + {text.answer:.0f}" for text in texts)
    lines = [
        f"Tokens of a mean prompt and answer: {', '.join(lengths)}. Answers are those of Qwen2.5-Coder-1.5B, "
        f"cut at max_new_tokens={config.max_new_tokens}; a model that rambles takes longer.",
        f"Time: matrix products, bytes moved and operations launched at the rates above; {START_S:.0f} s to start a "
        f"stage, {FILE_BYTES_S / 1e9:.0f} GB/s from disk. Downloads, grading and other programs are not counted.",
    ]
    if config.keep_correct:
        lines.append(f"keep_correct is taken to ask again for {ASKED_AGAIN:.0%} of the answers at every try.")
    if hardware.is_cuda:
        lines.append(
            f"No GPU run has checked these times: take them as good to a factor of {CUDA_FACTOR:g} either way."
        )
    else:
        lines.append(f"{CPU_EVIDENCE} Take times as good to a factor of {CPU_FACTOR:g} either way.")
    return lines


def rough_duration(seconds: float) -> str:
    """Seconds as 45 s, 12 min or 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _measured(manifest: Manifest | None) -> str:
    return NONE if manifest is None else rough_duration(manifest.seconds)


def _manifests(run_dir: RunDir, names: list[str]) -> dict[str, Manifest]:
    found = {name: Manifest.load(run_dir.manifest(name)) for name in names}
    return {name: manifest for name, manifest in found.items() if manifest}


def _gib(value: float) -> str:
    """Two digits below 1 GiB, and no 0 for what is there."""
    if not value:
        return NONE
    return f"{value / GIB:.1f}" if value >= GIB else f"{max(value / GIB, 0.01):.2f}"
