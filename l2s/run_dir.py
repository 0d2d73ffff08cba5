"""The folder of one experiment: the only module that knows its paths, manifests and lock."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import yaml

from l2s import run_lock
from l2s.arms import ARMS, BASE, COPY, TEACHER, copy_name, original
from l2s.config import Dtype, ExperimentConfig
from l2s.durable import guard, make_folder, replacing_file, write_text_atomic
from l2s.errors import SHOWN_OF_PATH, UserError, shown_path
from l2s.jsonl import append_jsonl
from l2s.links import check_links
from l2s.metrics import StageMetrics
from l2s.sealed import read_sealed, write_sealed

WHOLE_FILE_BYTES = 64 << 20  # larger files are sampled: a 16 GB model must not delay a dry run
SAMPLES = 64
CHECKSUM = "# sha256 of what follows: "  # first line of config.yaml
FINAL_MODEL = "final_model"  # in the run folder, a link to the student that was trained last
SIGNAL_INDEX = "index.json"  # index of a folder of teacher signals; written last
SIGNALS_SHARED = "shared.safetensors"  # of such a folder: tensors that all rows share


def existing_parent(folder: Path) -> Path:
    """`folder`, or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


@dataclass(frozen=True)
class ArmDir:
    """Paths under outputs/<experiment_name>/<arm>/, the folder of one student's training."""

    root: Path

    @property
    def final_model(self) -> Path:
        return self.root / "final_model"

    @property
    def adapter(self) -> Path:
        return self.root / "adapter"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One row for each step."""
        return self.root / "metrics.jsonl"

    @property
    def heldout_metrics(self) -> Path:
        """The loss on held-out answers, one row for each measurement."""
        return self.root / "heldout_metrics.jsonl"


def replica_logs(log: Path) -> Path:
    """Folder beside an answer log, for the answers of replicas other than the first."""
    return log.with_suffix(".replicas")


@dataclass(frozen=True)
class RunDir:
    """Paths under outputs/<experiment_name>/; those of the arms are of their copy with seed `copy`, if there is one."""

    root: Path
    copy: int | None = None

    @classmethod
    def of(cls, config: ExperimentConfig) -> RunDir:
        """The folder that `config` names; it is not created."""
        return cls(config.output_dir / config.experiment_name)

    def arm(self, name: str) -> ArmDir:
        """The folder of an arm."""
        return ArmDir(self.root / (name if self.copy is None else copy_name(name, self.copy)))

    def of_copy(self, seed: int | None) -> RunDir:
        """The same folder as the training of the copies with `seed` sees it: the same data, and arms of their own."""
        return replace(self, copy=seed)

    # Data and answers
    @property
    def train_data(self) -> Path:
        return self.root / "data" / "train_dataset.jsonl"

    @property
    def eval_data(self) -> Path:
        return self.root / "data" / "eval_dataset.jsonl"

    @property
    def sft(self) -> Path:
        return self.root / "sft"

    @property
    def responses(self) -> Path:
        return self.sft / "sft_train_data.jsonl"

    @property
    def answer_log(self) -> Path:
        """Folder of the teacher's answers so far, one file for each try; becomes `responses` when it is complete."""
        return self.sft / "answers.partial"

    def answers_of_try(self, attempt: int) -> Path:
        """The answers of a try, counted from 0."""
        return self.answer_log / f"try-{attempt + 1}.jsonl"

    def grades(self, attempt: int) -> Path:
        """The grades of the answers of a try."""
        return self.answer_log / f"grades-{attempt + 1}.jsonl"

    def asked(self, attempt: int) -> Path:
        """Which items a try asks again."""
        return self.answer_log / f"asked-{attempt + 1}.json"

    @property
    def rejected(self) -> Path:
        return self.sft / "rejected.jsonl"

    @property
    def never_right(self) -> Path:
        """The training items that no answer of the teacher gets right."""
        return self.sft / "never_right.jsonl"

    @property
    def sft_model(self) -> Path:
        return self.arm("sft").final_model

    @property
    def kd_model(self) -> Path:
        return self.arm("kd").final_model

    @property
    def kd(self) -> Path:
        return self.root / "kd"

    @property
    def opd(self) -> Path:
        return self.root / "opd"

    @property
    def teacher_signals(self) -> Path:
        return self.kd / "teacher_signals"

    # Evaluation
    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    def predictions(self, model: str) -> Path:
        return self.evaluation / "predictions" / f"{model}.jsonl"

    def prediction_log(self, model: str) -> Path:
        """A model's evaluation answers so far; becomes `predictions` when it is complete."""
        return self.evaluation / "predictions" / f"{model}.partial.jsonl"

    def fidelity(self, model: str) -> Path:
        return self.evaluation / "fidelity" / f"{model}.jsonl"

    def lm_eval(self, model: str) -> Path:
        """The results of lm-evaluation-harness for a model."""
        return self.evaluation / "lm_eval" / f"{model}.json"

    def lm_eval_answers(self, model: str) -> Path:
        """Folder of a model's answers to the harness so far."""
        return self.evaluation / "lm_eval" / f"{model}.partial"

    @property
    def evaluation_signals(self) -> Path:
        """The teacher's hidden states on its own evaluation answers, for fidelity."""
        return self.evaluation / "teacher_signals"

    @property
    def plots(self) -> Path:
        return self.evaluation / "plots"

    @property
    def comparison_report(self) -> Path:
        return self.evaluation / "comparison_report.md"

    @property
    def comparison_table(self) -> Path:
        return self.evaluation / "model_comparison.csv"

    @property
    def browser_report(self) -> Path:
        return self.evaluation / "report.html"

    @property
    def results(self) -> Path:
        return self.root / "results.json"

    def weights(self, model: str, config: ExperimentConfig) -> str:
        """Folder or hub name of an evaluated model: teacher, student_base, or the student of an arm."""
        named = {TEACHER: config.teacher_model, BASE: config.student_model}
        trained = {arm.model.name: str(self.arm(arm.name).final_model) for arm in ARMS.values()}
        if COPY in model:
            return self.of_copy(int(model.partition(COPY)[2])).weights(original(model), config)
        return (named | trained)[model]

    # The run itself
    @property
    def plan(self) -> Path:
        """The predicted time and memory of the run."""
        return self.root / "plan.json"

    @property
    def config_file(self) -> Path:
        return self.root / "config.yaml"

    @property
    def log_file(self) -> Path:
        return self.root / "log.jsonl"

    def stage_log(self, stage: str) -> Path:
        """The output of a stage that runs beside others."""
        return self.root / "logs" / f"{stage}.log"

    def manifest(self, stage: str) -> Path:
        """Path of a stage's manifest. Those of the arms and of their copies are beside their models."""
        if original(stage) in ARMS:
            return self.root / stage / "manifest.json"
        return self.root / "manifests" / f"{stage}.json"

    def started(self, stage: str) -> Path:
        """The settings that an unfinished stage was started with; only a run with the same settings resumes it."""
        return self.root / "manifests" / f"{stage}.started.json"

    def create(self) -> None:
        """Make the folder.

        Raises:
            UserError: it cannot be written, holds a link that leads out of it, or a folder where a run puts a link.
        """
        check_links(self.root)
        published = self.root / FINAL_MODEL
        if published.exists() and not published.is_symlink():
            raise UserError(f"{published}: l2s keeps a link to the last student there; move this one away")
        try:
            make_folder(self.root)
            guard(self.root)
            probe = self.root / ".writable"
            probe.touch()
            probe.unlink()
            for folder in self.root.iterdir():
                if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
                    raise UserError(f"{folder}: cannot be written to; make it writable, or choose another --output_dir")
        except OSError as error:
            raise UserError(
                f"output_dir={str(self.root.parent)!r}: cannot write there ({error.strerror}); "
                "choose another --output_dir or fix its permissions"
            ) from None

    def save_config(self, config: ExperimentConfig) -> None:
        """Write the resolved configuration, one `field: value` a line, below their checksum."""
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_text_atomic(self.config_file, f"{CHECKSUM}{hashlib.sha256(text.encode()).hexdigest()}\n{text}")

    def load_config(self) -> ExperimentConfig:
        """The configuration that `save_config` wrote.

        Raises:
            UserError: there is none, so this is not the folder of an experiment; or it is not as it was written.
        """
        try:
            if not self.config_file.exists():
                raise FileNotFoundError
            text = self.config_file.read_bytes().decode("utf-8")
            first, _, rest = text.partition("\n")
            if first.startswith(CHECKSUM) and first != CHECKSUM + hashlib.sha256(rest.encode()).hexdigest():
                raise ValueError("its checksum is another")
            return ExperimentConfig(**yaml.safe_load(text))
        except (FileNotFoundError, NotADirectoryError):
            raise _no_experiment(self.config_file) from None
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            if getattr(error, "errno", None) == errno.ENAMETOOLONG:
                raise _no_experiment(self.config_file) from None
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.config_file}: not the settings that l2s wrote ({reason}); run the experiment's command again, "
                "which writes them and skips what is done"
            ) from None

    def load_predictions(self) -> dict[str, Any]:
        """What the plan expected of every stage; nothing where there is no plan.

        Raises:
            UserError: the plan is damaged.
        """
        try:
            return dict(read_sealed(self.plan)["stages"])
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.plan}: the estimate of this run is damaged ({error}); remove it") from None

    def begun_dtype(self) -> Dtype | None:
        """The dtype that this experiment started with, or None if it has not started."""
        try:
            saved = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))["dtype"]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return None
        return saved if saved in get_args(Dtype) else None

    def log(self, event: str, **fields: Any) -> None:
        """Append one event of the run to log.jsonl."""
        append_jsonl(self.log_file, [{"time": round(time.time(), 3), "event": event, **fields}])

    def lock(self) -> AbstractContextManager[int]:
        """Hold the folder for one run; gives the lock's file descriptor, for child processes to inherit.

        Raises:
            UserError: another run holds it; names its process.
        """
        return run_lock.hold(self.root / ".lock")

    def changed(self, path: Path, stage: str) -> UserError:
        """The error for a file or folder that is not as `stage` left it."""
        return UserError(
            f"{path}: changed since stage {stage} wrote it, by its checksum; put it back as it was, or remove "
            f"{self.manifest(stage)}, and the same command makes it again"
        )

    def publish_model(self, model: Path) -> None:
        """Point <root>/final_model at the model trained last, so that later experiments can start from it."""
        with replacing_file(self.root / FINAL_MODEL) as partial:
            partial.symlink_to(os.path.relpath(model, self.root))


def _no_experiment(missing: Path) -> UserError:
    name = str(missing.parent)
    if not name.isprintable() or len(name) > SHOWN_OF_PATH:
        name = shown_path(name)
    return UserError(f"{name}: not the folder of an experiment (no {missing.name}); give outputs/<experiment_name>")


@dataclass(frozen=True)
class Manifest:
    """The inputs and results of a finished stage; written last, so its presence means that the stage is complete."""

    stage: str
    config: dict[str, Any]  # configuration fields that the stage reads -> their values
    inputs: dict[str, str]  # path relative to the run folder, or model name -> fingerprint
    outputs: dict[str, str]
    versions: dict[str, str]
    git_commit: str | None
    seed: int
    device: str
    started_at: str  # ISO 8601, UTC
    seconds: float
    metrics: StageMetrics = field(default_factory=StageMetrics)
    machine: dict[str, Any] = field(default_factory=dict)  # from l2s.devices.describe_machine
    dtype_reason: str | None = None  # why the stage used the dtype of `config`; None for stages that use none

    def save(self, path: Path) -> None:
        """Write the manifest atomically."""
        make_folder(path.parent)
        write_sealed(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Manifest | None:
        """The manifest at `path`, or None if the stage never finished.

        Raises:
            UserError: it is damaged.
        """
        try:
            return cls(**read_sealed(path))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path}: the record of a finished stage is damaged ({error}); remove it, and the same command runs "
                "that stage again"
            ) from None


def fingerprint(path: Path) -> str:
    """sha256 that changes when the content of a file or folder changes.

    The fingerprint of a folder covers its files' relative names and fingerprints. For a file above 64 MB it covers the
    size and 64 evenly spaced samples of 64 KiB: a replaced checkpoint is noticed, a single flipped bit may not be.
    """
    if path.is_dir():
        lines = [
            f"{file.relative_to(path)} {fingerprint(file)}\n" for file in sorted(path.rglob("*")) if file.is_file()
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for index in range(SAMPLES):
            file.seek(index * (size - (1 << 16)) // (SAMPLES - 1))
            digest.update(file.read(1 << 16))
    return digest.hexdigest()
