"""The tiny full experiment that is broken: every arm, own data and a built-in domain, two CPU workers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from l2s.jsonl import write_jsonl
from l2s.models.tiny import save_tiny_pair
from l2s.run_dir import RunDir

NAME = "tiny"
# One sequence in each update, so that a stage always has one rank, and losses can be compared to the bit.
SETTINGS = {
    "experiment_name": NAME, "teacher_model": "teacher", "student_model": "student", "arms": "sft,kd,opd",
    "domains": "own,math", "math_source": "one_step", "math_train_size": 4, "math_eval_size": 2,
    "train_file": "train.jsonl", "eval_file": "eval.jsonl", "own_grader": "contains",
    "max_new_tokens": 12, "max_length": 1024, "generation_batch_size": 3, "eval_batch_size": 2,
    "tuning": "lora", "lora_r": 4, "lora_alpha": 8, "gradient_checkpointing": "false",
    "gradient_accumulation_steps": 1, "save_steps": 4, "heldout_answers": 1, "sft_epochs": 2, "sft_batch_size": 1,
    "sft_lr": 1e-2, "kd_epochs": 2, "kd_batch_size": 1, "kd_lr": 1e-2, "opd_steps": 6, "opd_batch_size": 1,
    "opd_lr": 1e-2, "opd_max_new_tokens": 8, "device": "cpu", "cpu_workers": 2, "dtype": "float32",
}  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """An experiment in its own working folder, with data, models and the command that runs it there."""

    folder: Path
    flags: tuple[str, ...] = ()  # beside --run_all and SETTINGS; `--name=value` replaces a value of these
    environment: dict[str, str] = field(default_factory=dict)
    argv_instead: tuple[str, ...] = ()  # another command in the same folder
    output: Path | None = None  # where its runs print, if not in its folder

    @property
    def run_dir(self) -> RunDir:
        """The run folder."""
        return RunDir(self.folder / "outputs" / NAME)

    @property
    def argv(self) -> list[str]:
        """The arguments of `l2s`, relative to the folder, so that two folders hold the same experiment."""
        if self.argv_instead:
            return list(self.argv_instead)
        named = {flag.partition("=")[0] for flag in self.flags}
        given = [f"--{name}={value}" for name, value in SETTINGS.items() if f"--{name}" not in named]
        return ["run", *given, "--run_all", *self.flags]

    def create(self) -> Experiment:
        """Write data and models; return itself."""
        self.folder.mkdir(parents=True)
        save_tiny_pair(self.folder)
        rows = [{"id": f"row-{n}", "prompt": f"Say the word w{n}.", "reference": f"w{n}"} for n in range(12)]
        write_jsonl(self.folder / "train.jsonl", rows[:9])
        write_jsonl(self.folder / "eval.jsonl", rows[9:])
        return self


def events(run_dir: RunDir) -> list[dict[str, object]]:
    """The events in log.jsonl of a run that may have been killed, without an unfinished last line."""
    data = run_dir.log_file.read_bytes() if run_dir.log_file.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def stages_at_work(run_dir: RunDir) -> list[str]:
    """The stages that the last run has started and not finished, by its log."""
    at_work: list[str] = []
    for event in events(run_dir):
        if event["event"] == "run":
            at_work = []
        elif event["event"] == "stage_start":
            at_work.append(str(event["stage"]))
        elif event["event"] in ("stage_end", "stage_failed"):
            at_work.remove(str(event["stage"]))
    return at_work
