"""The tables of costs and circumstances: models, stages, disk, machine and configuration."""

from __future__ import annotations

from collections import Counter

from l2s.report.numbers.schema import Machine, Results
from l2s.report.text import formats
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Cells, Table, make_table


def model_table(results: Results, text: Text) -> Table:
    """Size and speed, with the ratios to the teacher below them."""
    rows: list[Cells] = [
        [
            text(model),
            Cell(formats.short_count(cost["parameters"]), _times(results, model, "parameters")),
            Cell(formats.size(cost["weight_bytes"]), _times(results, model, "weight_bytes")),
            Cell(formats.size(cost["peak_memory_bytes"]), _times(results, model, "peak_memory_bytes")),
            Cell(formats.rate(cost["tokens_per_second"]), _times(results, model, "tokens_per_second")),
            Cell(formats.duration(cost["seconds"])),
        ]
        for model, cost in results["models"].items()
    ]
    header = ("model", "parameters", "weight_bytes", "peak_memory", "tokens_per_second", "time")
    return make_table([text(name) for name in header], rows)


def _times(results: Results, model: str, measure: str) -> str:
    ratio = dict(results["ratios"].get(model, {})).get(measure)
    return f"×{ratio:.2f}" if isinstance(ratio, float) else ""


def stage_table(results: Results, text: Text) -> Table:
    """Time, tokens and memory of each stage, and the total time."""
    rows: list[Cells] = [
        [
            stage,
            formats.duration(cost["seconds"]),
            formats.count(cost["tokens"]),
            formats.rate(cost["tokens_per_second"]),
            formats.size(cost["peak_memory_bytes"]),
            cost["device"],
        ]
        for stage, cost in results["stages"].items()
    ]
    if rows:
        rows.append([text("total"), formats.duration(results["environment"]["seconds"]), *[""] * 4])
    header = ("stage", "time", "tokens", "tokens_per_second", "peak_memory", "device")
    return make_table([text(name) for name in header], rows)


def prediction_table(results: Results, text: Text) -> Table:
    """Time and memory of each stage, predicted and measured."""
    rows: list[Cells] = [
        [
            stage,
            formats.duration(expected["seconds"]),
            formats.duration(cost["seconds"]),
            formats.size(expected["memory_bytes"] or None),
            formats.size(cost["peak_memory_bytes"]),
        ]
        for stage, expected in results["predicted"].items()
        if (cost := results["stages"].get(stage))
    ]
    header = ("stage", "predicted_time", "time", "predicted_memory", "peak_memory")
    return make_table([text(name) for name in header], rows)


def disk_table(results: Results, text: Text) -> Table:
    """Size of the folders of the run."""
    rows: list[Cells] = [[f"{folder}/", formats.size(size)] for folder, size in results["disk_bytes"].items()]
    return make_table([text("folder"), text("size")], rows)


def environment_table(results: Results, text: Text) -> Table:
    """Sandbox, devices, machines, commits and versions."""
    found = results["environment"]
    rows: list[Cells] = [
        [text("sandbox"), found["sandbox"] or text("no_code_run")],
        [text("devices"), ", ".join(found["devices"]) or formats.NONE],
        *(row for machine in found["machines"] for row in _machine_rows(machine, text)),
        [text("commit"), ", ".join(found["git_commits"]) or formats.NONE],
        [text("started_at"), found["started_at"] or formats.NONE],
    ]
    rows += [[name, version] for name, version in found["versions"].items()]
    return make_table([text("setting"), text("value")], rows)


def _machine_rows(machine: Machine, text: Text) -> list[Cells]:
    counts = {name: machine[name] for name in ("cores", "threads", "usable_threads")}
    cards = Counter(f"{card['name']}, {formats.size(card['memory_bytes'])}" for card in machine["gpus"])
    return [
        [text("processor"), f"{machine['cpu']}, {text('processor_count', **counts)}"],
        [text("bf16_units"), ", ".join(machine.get("bf16_units", [])) or formats.NONE],
        [text("memory"), formats.size(machine["memory_bytes"])],
        [text("gpus"), "; ".join(f"{number} × {card}" for card, number in cards.items()) or text("no_gpu")],
        [text("operating_system"), machine["os"]],
    ]


def config_table(results: Results, text: Text) -> Table:
    """Every setting of the run."""
    rows: list[Cells] = [
        [name, formats.NONE if value is None else str(value)] for name, value in results["config"].items()
    ]
    return make_table([text("setting"), text("value")], rows)
