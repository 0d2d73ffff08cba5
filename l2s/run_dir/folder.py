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
from pydantic import ValidationError

from l2s.config import Dtype, ExperimentConfig
from l2s.durable import guard, make_folder, replacing_file, write_text_atomic
from l2s.errors import UserError, plain, plain_path, shown_path, words_of
from l2s.jsonl import append_jsonl, require_file
from l2s.links import check_links
from l2s.run_dir import run_lock
from l2s.run_dir.paths import RunPaths
from l2s.sealed import read_sealed

CHECKSUM = "# sha256 of what follows: "  # first line of config.yaml
MOST_SETTINGS = 8 << 20  # bytes of config.yaml: a long system prompt with every character escaped
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
            self._try_to_write()
            for folder in self.root.iterdir():
                if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
                    raise UserError(f"{folder}: cannot be written to; make it writable, or choose another --output_dir")
        except OSError as error:
            raise UserError(
                f"output_dir={shown_path(self.root.parent)}: cannot write there ({error.strerror}); "
                "choose another --output_dir or fix its permissions"
            ) from None

    def _try_to_write(self) -> None:
        for folder in (self.train_data.parent, self.sft, self.kd, self.opd, self.evaluation, self.manifest("x").parent):
            if folder.exists() and not folder.is_dir():
                raise UserError(f"{folder}: a file is where a run makes a folder; move it away")
        probe = self.root / ".writable"
        probe.unlink(missing_ok=True)
        probe.touch()
        may_be_used = os.access(probe, os.R_OK | os.W_OK)
        probe.unlink()
        if not may_be_used:
            raise UserError(
                f"{self.root}: a file that is made there cannot be read and written, because the umask takes these "
                "rights from its owner; set `umask 022`"
            )

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
            text = self._settings_text()
            first, _, rest = text.partition("\n")
            if first.startswith(CHECKSUM) and first != CHECKSUM + hashlib.sha256(rest.encode()).hexdigest():
                raise ValueError("its checksum does not match")
            return ExperimentConfig(**yaml.safe_load(text))
        except (FileNotFoundError, NotADirectoryError):
            raise _no_experiment(self.config_file) from None
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            if getattr(error, "errno", None) == errno.ENAMETOOLONG:
                raise _no_experiment(self.config_file) from None
            raise UserError(
                f"{self.config_file}: not the settings that l2s wrote ({_reason(error)}); run the experiment's command "
                "again, which writes them and skips what is done"
            ) from None

    def _settings_text(self) -> str:
        if not self.config_file.exists():  # nor is there a path with a NUL
            raise FileNotFoundError
        require_file(self.config_file)
        with self.config_file.open("rb") as file:
            data = file.read(MOST_SETTINGS + 1)
        if len(data) > MOST_SETTINGS:
            raise ValueError(f"it has more than {MOST_SETTINGS:,} bytes")
        return data.decode("utf-8")

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
            saved = yaml.safe_load(self._settings_text())["dtype"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
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


def _reason(error: Exception) -> str:
    """Why the settings cannot be read. Of a wrong value only the name: a few nested anchors would fill the memory."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{plain('.'.join(map(str, first['loc'])) or 'settings')}: {first['msg']}"
    return words_of(error)


def _no_experiment(missing: Path) -> UserError:
    name = plain_path(missing.parent)
    return UserError(f"{name}: not the folder of an experiment (no {missing.name}); give outputs/<experiment_name>")
