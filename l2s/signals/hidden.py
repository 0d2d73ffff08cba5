"""Hidden states of a causal LM at response tokens, which signals and fidelity are computed from.

Shapes: N response tokens of the batch, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from l2s.devices import release_memory
from l2s.errors import UserError
from l2s.loss.reference import IGNORE_INDEX
from l2s.models.head import Head, decoder_of
from l2s.sequences import Collator, TrainingSequence


@torch.no_grad()
def response_hidden(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Last hidden states after the final norm [N, H] at the positions that predict response tokens.

    `batch` has shifted labels: a response at positions p to p + n gives rows p - 1 to p + n - 1.
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
    with torch.autocast(batch["input_ids"].device.type, enabled=False):  # same numbers in training and recording
        hidden_BTH = decoder_of(model)(**inputs, use_cache=False).last_hidden_state
    rows_NH: Tensor = hidden_BTH[batch["labels"].to(hidden_BTH.device) != IGNORE_INDEX]  # may be on another GPU
    return rows_NH


def hidden_of(model: PreTrainedModel, sequences: Sequence[TrainingSequence]) -> Tensor:
    """`response_hidden` of one batch of sequences, with rows in the order of the sequences."""
    collate = Collator(pad_token_id=0)  # padding is masked, so any id works
    batch = collate([{"input_ids": item.input_ids, "labels": item.labels} for item in sequences])
    return response_hidden(model, {name: tensor.to(model.device) for name, tensor in batch.items()})


class HiddenStates(Protocol):
    """A model's last hidden states, after the final norm, at the positions that predict answer tokens."""

    @property
    def head(self) -> Head:
        """The head that turns them into logits."""
        ...

    def of(self, batches: Iterable[Sequence[TrainingSequence]]) -> Iterator[Tensor]:
        """Yield [N, H] for each batch, in order: the rows of its response tokens, sequence by sequence.

        transformers runs one batch at a time. An engine that forms its own batches only keeps the grouping.
        """
        ...


class ModelHidden:
    """The hidden states of a loaded model, one padded batch at a time."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.head = Head.of(model)

    def of(self, batches: Iterable[Sequence[TrainingSequence]]) -> Iterator[Tensor]:
        """See `HiddenStates`. The rows are where the head is; a large model may be spread over several GPUs."""
        return (self._rows(batch).to(self.head.weight.device) for batch in batches)

    def _rows(self, batch: Sequence[TrainingSequence]) -> Tensor:
        """Of one batch; where memory runs out, of its halves.

        Raises:
            UserError: a single sequence does not fit.
        """
        try:
            return hidden_of(self.model, batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise UserError(
                    f"out of memory with one sequence of {len(batch[0].input_ids)} tokens; lower --max_length or "
                    "--max_new_tokens, or take --engine vllm, or --teacher_quantization for a teacher"
                ) from error
        release_memory()
        half = len(batch) // 2
        return torch.cat([self._rows(batch[:half]), self._rows(batch[half:])])


class OnlyFinite:
    """Hidden states that are checked: a student cannot learn from NaN or infinity, and would be damaged by it."""

    def __init__(self, hidden: HiddenStates) -> None:
        self._hidden = hidden

    @property
    def head(self) -> Head:
        """The head of the checked model."""
        return self._hidden.head

    def of(self, batches: Iterable[Sequence[TrainingSequence]]) -> Iterator[Tensor]:
        """See `HiddenStates`.

        Raises:
            UserError: states are not finite; names the answer.
        """
        read, asked = tee(batches)
        for batch, rows_NH in zip(read, self._hidden.of(asked), strict=True):
            if not torch.isfinite(rows_NH).all():
                raise _not_finite(batch, rows_NH)
            yield rows_NH


def _not_finite(batch: Sequence[TrainingSequence], rows_NH: Tensor) -> UserError:
    parts = torch.split(rows_NH, [sequence.num_response_tokens for sequence in batch])
    first = next(sequence for sequence, part in zip(batch, parts, strict=True) if not torch.isfinite(part).all())
    return UserError(
        f"the teacher's hidden states on the answer {first.id!r} are NaN or infinite; score with --dtype float32, or "
        "check the files of the teacher"
    )
