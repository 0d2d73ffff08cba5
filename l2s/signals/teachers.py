"""Teachers that supply targets for a training batch: from stored signals, or from a model in memory.

Shapes: N response tokens of a batch, H hidden size of the teacher.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from l2s.loss.targets import HiddenTargets, Targets
from l2s.models.head import logit_transform, output_head
from l2s.sequences import TEACHER_PREFIX
from l2s.signals.hidden import response_hidden
from l2s.signals.store import SignalStore
from l2s.signals.tail import TailModel
from l2s.signals.topk import decode


class Teacher(Protocol):
    """Supplies teacher targets for a batch."""

    def targets(self, batch: dict[str, Tensor]) -> Targets:
        """The targets at the N response tokens of `batch`, on its device."""


class StoredTeacher:
    """A teacher whose signals are in a folder: exact hidden states, or the top k and a model of the tail."""

    def __init__(self, store: SignalStore, device: torch.device) -> None:
        self.index = store.index
        shared = store.shared()
        hidden = self.index.source.kind == "hidden"
        self.matrix = (shared["head"] if hidden else TailModel.of(shared).factors()).to(device)

    def targets(self, batch: dict[str, Tensor]) -> Targets:
        """See `Teacher`; `batch` carries the stored rows under names with TEACHER_PREFIX."""
        prefix = TEACHER_PREFIX
        rows = {name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)}
        if self.index.source.kind == "hidden":
            return HiddenTargets(rows["hidden"], self.matrix, self.index.transform)
        assert self.index.source.topk is not None
        return decode(rows, self.index.source.topk, self.matrix)


class OnlineTeacher:
    """A teacher in memory, which runs on every batch."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.transform = logit_transform(model)

    def targets(self, batch: dict[str, Tensor]) -> Targets:
        """See `Teacher`. One forward pass, with the teacher's own prompts where `batch` has them."""
        own = {
            name.removeprefix(TEACHER_PREFIX): rows for name, rows in batch.items() if name.startswith(TEACHER_PREFIX)
        }
        hidden_NH = response_hidden(self.model, own if "input_ids" in own else batch)
        device = batch["labels"].device  # the student's device; a large teacher may be spread over several
        return HiddenTargets(hidden_NH.to(device), output_head(self.model).weight.to(device), self.transform)
