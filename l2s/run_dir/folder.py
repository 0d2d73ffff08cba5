"""RunDir: the folder of an experiment, with its settings, its log and its lock."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from l2s.config import Dtype, ExperimentConfig
from l2s.durable import guard, make_folder, replacing_file, write_text_atomic
from l2s.errors import SHOWN_OF_PATH, UserError, shown_path
from l2s.jsonl import append_jsonl
from l2s.links import check_links
from l2s.run_dir import run_lock
from l2s.run_dir.paths import RunPaths
from l2s.sealed import read_sealed

CHECKSUM = "# sha256 of what follows: "  # first line of config.yaml
FINAL_MODEL = "final_model"  # in the run folder, a link to the student that was trained last


@dataclass(frozen=True)
class RunDir(RunPaths):
    """The folder of one experiment. It exists once `create` was called."""

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
                raise ValueError("its checksum does not match")
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
            f"{path}: changed since stage {stage} wrote it (its checksum does not match); restore it, or remove "
            f"{self.manifest(stage)} and repeat the command, which runs the stage again"
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
