"""With this folder on PYTHONPATH the stages of a process are slow, so that a test meets them in the middle.

Python imports a module of this name at its start. Results stay the same, but a shard of signals holds a few rows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PAUSE_S = 0.3
SHARD_ROWS = 32


def _pause_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*given: Any, **named: Any) -> Any:
        result = work(*given, **named)
        time.sleep(PAUSE_S)
        return result

    return slow


def _slow_answers(module: Any) -> None:
    module.append_jsonl = _pause_after(module.append_jsonl)


def _slow_shards(module: Any) -> None:
    module._write_shard = _pause_after(module._write_shard)
    module.record_signals.__kwdefaults__["shard_rows"] = SHARD_ROWS


def _slow_steps(module: Any) -> None:
    module.TrainingProgress.on_step_end = _pause_after(module.TrainingProgress.on_step_end)


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "l2s.generation.answers": _slow_answers,
    "l2s.signals.record": _slow_shards,
    "l2s.training.progress": _slow_steps,
}


class Pacer(MetaPathFinder):
    """Changes the modules of CHANGES once they are loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        spec = PathFinder.find_spec(name, path) if name in CHANGES else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            CHANGES[name](module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Pacer())
