"""Keeps a training process on one device, however many GPUs the machine has."""

from __future__ import annotations

from typing import TypeVar

from transformers import TrainingArguments

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def on_one_device(settings: Arguments) -> Arguments:
    """Keep transformers from wrapping the model in DataParallel if one process sees several GPUs.

    DataParallel breaks the loss. Several GPUs train as the ranks of a torchrun.
    """
    settings._n_gpu = min(settings.n_gpu, 1)
    return settings
