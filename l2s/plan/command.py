"""The command `l2s plan`: sizes of both models, a table of the stages, what does not fit, and the assumptions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from l2s.arms import ARMS
from l2s.chat import check_same_vocabulary, load_renderer
from l2s.config import ExperimentConfig, ModelField
from l2s.counted import counted
from l2s.errors import UserError
from l2s.plan.estimates import ASKED_AGAIN, ESTIMATES, FILE_BYTES_S, FORK_S, START_S
from l2s.plan.hardware import GIB, Fleet, find_hardware
from l2s.plan.known_models import as_folders
from l2s.plan.layout import Layout, Row, device_numbers, layout_name
from l2s.plan.model_size import ModelSize
from l2s.plan.parts import Texts
from l2s.plan.prediction import Plan, fills_too_much, gib, make_plan, rough_duration
from l2s.plan.vllm import VLLM_SHARE, VLLM_START_S
from l2s.report.text.formats import NONE, short_count, size
from l2s.run_dir import Manifest, RunDir
from l2s.runner.engine_checks import check_engine_fits, check_quantization
from l2s.runner.pipeline import Stage
from l2s.runner.preflight import check_settings, check_sharding_fits, compares_models, model_fields
from l2s.runner.selection import select_stages, settle
from l2s.terminal import quiet_libraries
from l2s.visible import in_one_line

CUDA_FACTOR = 3.0
COLUMNS = ("weights", "optimizer", "activations", "cache", "buffers", "memory")
DEVICES_WIDTH = 12  # columns of the devices of a stage
FILE_WIDTH = 100  # columns if the output is not a terminal


def run_plan(config: ExperimentConfig, *, hardware: str = "this", details: bool = False) -> bool:
    """Print the plan of an experiment on `hardware`; False if it does not fit.

    Raises:
        UserError: a wrong setting, unknown hardware, or a model whose configuration cannot be loaded.
    """
    quiet_libraries()
    if hardware == "cpu" and config.device == "cuda":
        raise UserError("--hardware cpu: contradicts device='cuda'; leave out one of the two")
    if hardware == "cpu":
        config = config.model_copy(update={"device": "cpu"})
    is_here = hardware in ("cpu", "this")
    with as_folders(config if is_here else _as_on_a_gpu(config)) as (known, names):
        known = settle(known)
        stages = select_stages(known)
        field = "weights_engine" if known.engine == "endpoint" else "engine"
        installed = {field: "transformers", "teacher_quantization": "none", "sharding": "auto"}
        others = [stage for stage in stages if not stage.name.startswith("lm_eval_")]  # its package may be only there
        check_settings(known if is_here else known.model_copy(update=installed), stages if is_here else others)
        fleet = find_hardware(known, hardware)
        check_engine_fits(known, stages)
        if any(stage.original in ARMS for stage in stages):
            check_sharding_fits(known)
        if "teacher_model" in model_fields(stages, known):
            check_quantization(known)
        _check_vocabularies(known, stages)
        plan = make_plan(known, stages, fleet)
        advice = plan.advice()
    _print_plan(plan, names, details=details)
    for line in advice:
        _say(line, style="red")
    for line in assumptions(plan):
        _say(line, style="dim")
    return not advice


def _check_vocabularies(config: ExperimentConfig, stages: Sequence[Stage]) -> None:
    """Refuse models of different vocabularies, as a run does, if both tokenizers are in folders of this machine."""
    fields: tuple[ModelField, ModelField] = ("teacher_model", "student_model")
    in_folders = all(any(Path(getattr(config, field)).glob("tokenizer*")) for field in fields)
    if in_folders and set(fields) <= model_fields(stages, config) and compares_models({one.name for one in stages}):
        check_same_vocabulary(*(load_renderer(config, field) for field in fields))


def _as_on_a_gpu(config: ExperimentConfig) -> ExperimentConfig:
    """What `auto` means on GPUs of another machine: bfloat16, and vLLM unless bitsandbytes quantises."""
    engine = "transformers" if config.teacher_quantization in ("int8", "nf4") else "vllm"
    changes = {"engine": engine if config.engine == "auto" else config.engine}
    if config.engine == "endpoint" and config.weights_engine == "auto":
        changes["weights_engine"] = engine
    changes["dtype"] = "bfloat16" if config.dtype == "auto" else config.dtype
    return config.model_copy(update=changes)


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def _say(line: str, *, label: str = "", indent: int = 2, style: str | None = None) -> None:
    """Print a line in the width of the output; further lines begin at the column `indent`."""
    console = _console()
    filled = textwrap.fill(
        in_one_line(line),
        console.width,
        initial_indent=label.ljust(indent) if label else "",
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(filled, style=style, markup=False)


def _print_plan(plan: Plan, names: Mapping[str, str], *, details: bool) -> None:
    config = plan.situation.config
    _say(f"Plan of {RunDir.of(config).root}", style="bold")
    with_weights = f", {config.weights_engine} for what needs weights" if config.engine == "endpoint" else ""
    heading = {"devices": _device_line(plan.fleet), "engine": config.engine + with_weights}
    for role, size_of_model in (("teacher", plan.situation.teacher), ("student", plan.situation.student)):
        folder = getattr(config, f"{role}_model")
        behind = role == "teacher" and config.remote_teacher
        heading[role] = (
            f"{folder}: behind the endpoint" if behind else _model_line(names.get(folder, folder), size_of_model)
        )
    heading["trained"] = f"{short_count(plan.situation.trainable)} weights of the student ({config.tuning})"
    for label, line in heading.items():
        _say(line, label=f"  {label}", indent=11)
    found = {row.stage.name: Manifest.load(RunDir.of(config).manifest(row.stage.name)) for row in plan.layout.rows}
    manifests = {name: manifest for name, manifest in found.items() if manifest}
    console = _console()
    console.print(stage_table(plan, manifests))
    if details:
        console.print(memory_table(plan))
    path = plan.layout.critical_path(config)
    steps = [f"{row.stage.name} {rough_duration(row.estimate.seconds)}" for row in path if row.estimate.seconds >= 1]
    _say(f"Wall time {rough_duration(plan.layout.wall_seconds)}: {' > '.join(steps)}")


def _device_line(fleet: Fleet) -> str:
    hardware = fleet.hardware
    return (
        f"{fleet}, {hardware.memory / GIB:.0f} GiB each; {_rate(hardware.products)}FLOP/s, "
        f"{_rate(hardware.bandwidth)}B/s, {hardware.layer_seconds * 1e3:.1f} ms to launch a layer ({hardware.origin})"
    )


def _rate(value: float) -> str:
    """Three digits and a prefix: `187 T`, `1.32 T`, `15.7 G`."""
    prefix, unit = next(((p, u) for p, u in (("T", 1e12), ("G", 1e9)) if value >= u), ("M", 1e6))
    number = value / unit
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f} {prefix}"


def _model_line(name: str, model: ModelSize) -> str:
    active = f", {short_count(model.active_parameters)} in a token" if model.num_experts else ""
    return (
        f"{name}: {short_count(model.parameters)} parameters{active}; "
        f"{size(model.checkpoint_bytes)} on disk, {size(model.cache_bytes)} of KV cache a token"
    )


def stage_table(plan: Plan, manifests: Mapping[str, Manifest]) -> Table:
    """A row for each stage and one for the whole: wall time, fullest device, disk."""
    rows, config = plan.layout.rows, plan.situation.config
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)  # a name that is cut could be that of another stage
    for header in ("devices", "layout"):
        table.add_column(header)
    measured = ["measured"] if manifests else []
    for header in ("GiB each", "starts", "time", "disk GiB", "scratch GiB", *measured):
        table.add_column(header, justify="right")
    for row in rows:
        one = manifests.get(row.stage.name)
        table.add_row(
            row.stage.name,
            _in_lines(device_numbers(row.devices)) or NONE,
            layout_name(row),
            _gib(row.estimate.memory.total),
            rough_duration(row.start),
            time_of(row, config),
            _gib(row.estimate.disk),
            _gib(row.estimate.scratch + row.estimate.temporary),
            *([rough_duration(one.seconds) if one else NONE] if manifests else []),
            style="red" if fills_too_much(row, plan.fleet) else None,
        )
    table.add_section()
    table.add_row("all", "", "", *_totals(plan.layout), *([_sum_measured(manifests)] if manifests else []))
    return table


def _in_lines(numbers: str) -> str:
    """Numbers of devices in short lines, each of which ends after a comma."""
    lines = textwrap.wrap(numbers.replace(",", ", "), DEVICES_WIDTH, break_on_hyphens=False)
    return "\n".join(line.replace(", ", ",") for line in lines)


def time_of(row: Row, config: ExperimentConfig) -> str:
    """How long a stage takes; `?` if nothing says so, and the least that its rate limit allows an endpoint."""
    if row.stage.original not in ESTIMATES or (row.estimate.of_server and not config.endpoint_per_minute):
        return "?"
    return ("≥ " if row.estimate.of_server else "") + rough_duration(row.estimate.seconds)


def _totals(layout: Layout) -> list[str]:
    rows = layout.rows
    return [
        _gib(max(row.estimate.memory.total for row in rows)),
        "",
        rough_duration(layout.wall_seconds),
        _gib(sum(row.estimate.disk for row in rows)),
        _gib(max(row.estimate.scratch + row.estimate.temporary for row in rows)),
    ]


def _sum_measured(manifests: Mapping[str, Manifest]) -> str:
    return rough_duration(sum(manifest.seconds for manifest in manifests.values()))


def memory_table(plan: Plan) -> Table:
    """What fills the memory of a device, in GiB."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("GiB of a device", no_wrap=True)
    for header in COLUMNS:
        table.add_column(header, justify="right")
    rows: list[Row] = plan.on_devices()
    for row in rows:
        table.add_row(row.stage.name, *map(_gib, (*row.estimate.memory.parts(), row.estimate.memory.total)))
    return table


def assumptions(plan: Plan) -> list[str]:
    """The assumptions behind the figures."""
    situation, config, hardware = plan.situation, plan.situation.config, plan.fleet.hardware
    texts = situation.training_texts + situation.evaluation_texts
    lengths = dict.fromkeys(f"{text.source} {text.prompt:.0f} + {text.answer:.0f}" for text in texts)
    starts = "a stage" if situation.hardware.is_cuda else f"the first stage and {FORK_S:.0f} s each further one"
    lines = [
        f"Tokens of a mean prompt and answer: {', '.join(lengths)}. {_whose_answers(config)}",
        f"Time: matrix products, bytes moved and operations launched at the rates above; {START_S:.0f} s to start "
        f"{starts}, {FILE_BYTES_S / 1e9:.0f} GB/s from disk. Downloads, grading and other programs are not counted.",
    ]
    if situation.by_vllm:
        lines.append(
            f"vLLM: {VLLM_START_S:.0f} s to start, {VLLM_SHARE:.0%} of those rates; l2s/plan/vllm.py names the "
            "published throughputs behind it. It fills its share of a GPU whatever the model needs."
        )
    if overlong := _overlong(situation.answered_texts, config):
        lines.append(
            f"max_length={config.max_length} is below the mean length of {', '.join(overlong)}: training "
            f"{config.overlong}s what is longer, and the plan counts it all."
        )
    if contexts := dict.fromkeys(f"{text.source} {text.context:.0f}" for text in texts if text.context):
        lines.append(f"teacher_context adds to a prompt of the teacher, in tokens: {', '.join(contexts)}.")
    if spilled := max((row.estimate.temporary for row in plan.layout.rows), default=0):
        lines.append(
            f"Scratch counts the tokens of the training sequences, which each process keeps in TMPDIR: {gib(spilled)} "
            "GiB at most in a stage."
        )
    if any(row.estimate.of_server for row in plan.layout.rows):
        lines.append(
            "Answers come from the endpoint, whose speed nobody here knows: the wall time counts "
            + (
                f"its limit of {counted(config.endpoint_per_minute, 'request')} a minute."
                if config.endpoint_per_minute
                else "no second of it (--endpoint_per_minute gives a limit)."
            )
        )
    if config.keep_correct:
        lines.append(
            f"keep_correct is taken to reject {ASKED_AGAIN:.0%} of the answers at every try, and to find as many as "
            "are wanted."
        )
    if any(row.stage.original not in ESTIMATES for row in plan.layout.rows):
        lines.append("lm-evaluation-harness is not estimated: its length is that of its tasks.")
    if len(plan.fleet.devices) > plan.fleet.per_machine:
        lines.append("Several machines take --executor ray, which uses this layout; without it a run uses one machine.")
    if hardware.is_cuda:
        lines.append(
            f"No whole run on GPUs has checked these times: they may be off by a factor of {CUDA_FACTOR:g} either way."
        )
    return lines


def _overlong(texts: Iterable[Texts], config: ExperimentConfig) -> list[str]:
    return [
        f"{text.source} ({text.prompt + text.answer:.0f})"
        for text in texts
        if text.prompt + text.answer > config.max_length
    ]


def _whose_answers(config: ExperimentConfig) -> str:
    if config.thinking == "on":
        return f"With thinking, every answer is taken to be as long as max_new_tokens={config.max_new_tokens} allows."
    return (
        f"Answers are those of Qwen2.5-Coder-1.5B, cut at max_new_tokens={config.max_new_tokens}; a model that rambles "
        "takes longer."
    )


def _gib(value: float) -> str:
    return gib(value) if value else NONE
