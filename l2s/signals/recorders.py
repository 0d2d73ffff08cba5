"""What is recorded of the teacher's hidden states: the states themselves, or the top k logits computed from them.

Shapes: N rows, H hidden size, V vocabulary, S sample rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from l2s.models.head import Head
from l2s.signals.tail import RANK, TailFit, TailModel
from l2s.signals.topk import TopkEncoder, bytes_per_row

CHUNK_ROWS = 256  # fp32 logits of a chunk take 156 MB at V = 152k
CPU_ROWS = 8  # rows encoded at a time on a CPU; temporaries of a few MB stay in the cache
SAMPLE_ROWS = 256  # rows of exact logits kept to check topk: 78 MB at V = 152k


Encode = Callable[[Tensor], dict[str, Tensor]]  # hidden states [N, H] to tensors on the CPU with N rows each


class Recorder(Protocol):
    """Turns the hidden states of response tokens into the rows that are stored."""

    @property
    def bytes_per_row(self) -> int:
        """Bytes stored per response token."""

    def shared_bytes(self, check_tokens: int) -> int:
        """Bytes of what `shared` returns when the check sample has `check_tokens` response tokens."""

    def shared(self, fit: Iterable[Tensor], check: Iterable[Tensor]) -> dict[str, Tensor]:
        """The tensors that all rows share: fitted to hidden states [n, H] of `fit`, with exact values on `check`."""

    def encoder(self, shared: Mapping[str, Tensor]) -> Encode:
        """The function that encodes rows, given the tensors of `shared`."""


class HiddenRecorder:
    """Stores hidden states unchanged."""

    def __init__(self, head: Head) -> None:
        self.head_VH = head.weight

    @property
    def bytes_per_row(self) -> int:
        """H numbers of the teacher's dtype."""
        return self.head_VH.shape[1] * self.head_VH.element_size()

    def shared_bytes(self, check_tokens: int) -> int:
        """Bytes of the output head."""
        return self.head_VH.numel() * self.head_VH.element_size()

    def shared(self, fit: Iterable[Tensor], check: Iterable[Tensor]) -> dict[str, Tensor]:
        """`head` [V, H]: rows @ head.T are the teacher's logits before its logit transform."""
        return {"head": self.head_VH.detach().cpu().contiguous()}

    def encoder(self, shared: Mapping[str, Tensor]) -> Encode:
        """Encodes to `hidden` [N, H] in the teacher's dtype, so nothing is lost."""
        return lambda hidden_NH: {"hidden": hidden_NH.cpu()}


class TopkRecorder:
    """Stores the K largest logits, the log-normalisers and the codes of the tail, over the first `vocabulary` ids."""

    def __init__(self, head: Head, topk: int, temperature: float, vocabulary: int) -> None:
        self.head_VH = head.weight[:vocabulary].detach()
        self.transform = head.transform
        self.topk = topk
        self.temperature = temperature
        self.rank = min(RANK, self.head_VH.shape[1])

    @property
    def bytes_per_row(self) -> int:
        """See `TopkEncoder`."""
        return bytes_per_row(self.topk, len(self.head_VH), self.rank)

    def shared_bytes(self, check_tokens: int) -> int:
        """Bytes of the tail model (float32, basis bfloat16) and of the exact logits (float16) with their positions."""
        vocabulary, size = self.head_VH.shape
        tail = vocabulary * (4 + 2 * self.rank) + 4 * size * (1 + self.rank)
        return tail + min(SAMPLE_ROWS, check_tokens) * (2 * vocabulary + 8)

    def shared(self, fit: Iterable[Tensor], check: Iterable[Tensor]) -> dict[str, Tensor]:
        """The tensors of a `TailModel` fitted on `fit`, and exact logits of some tokens of `check`.

        `sample_logits` [S, V] are relative to the row's largest logit. Their tokens are spread evenly over the check
        sample; `sample_rows` [S] are their positions among all tokens of that sample.
        """
        tail_fit = TailFit(self.head_VH, self.topk, self.temperature)
        for hidden_NH in fit:
            for chunk_NH, logits_NV in self._logits(hidden_NH):
                tail_fit.add(chunk_NH, logits_NV)
        hidden_NH = torch.cat(list(check))
        rows_S = torch.linspace(0, len(hidden_NH) - 1, min(SAMPLE_ROWS, len(hidden_NH))).long()
        (_, logits_SV) = next(self._logits(hidden_NH[rows_S.to(hidden_NH.device)]))
        logits_SV = (logits_SV - logits_SV.amax(-1, keepdim=True)).to(torch.float16).cpu()
        tail = tail_fit.model(self.rank, self.transform)
        return tail.tensors() | {"sample_logits": logits_SV, "sample_rows": rows_S}

    def encoder(self, shared: Mapping[str, Tensor]) -> Encode:
        """See `TopkEncoder.encode`."""
        encoder = TopkEncoder(self.topk, self.temperature, TailModel.of(shared).to(self.head_VH.device))

        def encode(hidden_NH: Tensor) -> dict[str, Tensor]:
            parts = [encoder.encode(logits_NV, part_NH) for part_NH, logits_NV in self._few_logits(hidden_NH)]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

        return encode

    def _logits(self, hidden_NH: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for chunk_NH in torch.split(hidden_NH, CHUNK_ROWS):
            yield chunk_NH, self.transform.apply(chunk_NH @ self.head_VH.T)

    def _few_logits(self, hidden_NH: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        rows = CPU_ROWS if hidden_NH.device.type == "cpu" else CHUNK_ROWS
        for chunk_NH, logits_NV in self._logits(hidden_NH):
            yield from zip(torch.split(chunk_NH, rows), torch.split(logits_NV, rows), strict=True)
