"""What scoring keeps of the teacher's hidden states: all of them, or their top k logits.

Shapes: N rows, H hidden size, V vocabulary, S sample rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from l2s.models import logit_transform, output_head
from l2s.teacher.topk import TailShape, TopkEncoder

CHUNK_ROWS = 256  # fp32 logits of a chunk take 156 MB at V = 152k
SAMPLE_ROWS = 256  # rows of exact logits kept to check topk against: 78 MB at V = 152k


class Recorder(Protocol):
    """Turns hidden states of response tokens into the rows that are kept."""

    def rows(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """Tensors on the CPU with N rows each."""

    def shared(self, sample: Iterable[Tensor]) -> dict[str, Tensor]:
        """What all rows share, from hidden states [n, H] of some sequences."""


class HiddenRecorder:
    """Keeps hidden states as they are."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.head_VH = output_head(model).weight

    def rows(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """`hidden` [N, H] in the type of the teacher, so nothing is lost."""
        return {"hidden": hidden_NH.cpu()}

    def shared(self, sample: Iterable[Tensor]) -> dict[str, Tensor]:
        """`head` [V, H], which makes logits of the rows."""
        return {"head": self.head_VH.detach().cpu().contiguous()}


class TopkRecorder:
    """Keeps the K largest logits and the log-normalisers over the first `vocabulary` ids."""

    def __init__(self, model: PreTrainedModel, encoder: TopkEncoder, vocabulary: int) -> None:
        self.head_VH = output_head(model).weight[:vocabulary]
        self.transform = logit_transform(model)
        self.encoder = encoder

    def rows(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """See `TopkEncoder.encode`."""
        parts = [self.encoder.encode(logits_NV) for logits_NV in self._logits(hidden_NH)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def shared(self, sample: Iterable[Tensor]) -> dict[str, Tensor]:
        """`tail_shape` [V], and of the first rows `sample_logits` [S, V] relative to the largest of a row."""
        shape, kept, number = TailShape(self.encoder), [], 0
        for hidden_NH in sample:
            for logits_NV in self._logits(hidden_NH):
                shape.add(logits_NV)
                if number < SAMPLE_ROWS:
                    shifted_NV = logits_NV - logits_NV.amax(-1, keepdim=True)
                    kept.append(shifted_NV[: SAMPLE_ROWS - number].to(torch.float16).cpu())
                    number += len(kept[-1])
        return {"tail_shape": shape.log(), "sample_logits": torch.cat(kept)}

    def _logits(self, hidden_NH: Tensor) -> Iterator[Tensor]:
        for chunk_NH in torch.split(hidden_NH, CHUNK_ROWS):
            yield self.transform.apply(chunk_NH @ self.head_VH.T)
