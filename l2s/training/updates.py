"""The sequences of one update, and how they are shared: between ranks, and between micro-batches that fit in memory.

An update holds the same sequences on any number of ranks: batch_size x gradient_accumulation_steps, in the order of
`LengthGroupedSampler`. The loss is divided by all their response tokens, so the cut changes no gradient.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch.utils.data import Dataset, Sampler

from l2s.counted import counted
from l2s.loss.reference import IGNORE_INDEX
from l2s.sequences import SequenceDataset
from l2s.training.sampler import LengthGroupedSampler

Cut = list[list[int]]  # micro-batches, as indices of sequences


@dataclass(frozen=True)
class Limit:
    """The limit of a micro-batch: `sequences`, or if `tokens` is not 0, that many tokens, padding included."""

    sequences: int
    tokens: int = 0

    def halved(self) -> Limit:
        """Half of the limit; a single sequence always fits."""
        return replace(self, tokens=self.tokens // 2) if self.tokens else replace(self, sequences=self.sequences // 2)

    def __str__(self) -> str:
        return counted(self.tokens, "token") if self.tokens else counted(self.sequences, "sequence")


def share(update: Sequence[int], lengths: Sequence[int], rank: int, ranks: int) -> list[int]:
    """The sequences of one rank, longest first if there are several; all ranks get equally many, of similar lengths."""
    if ranks == 1:
        return list(update)
    return sorted(update, key=lambda index: (-lengths[index], index))[rank::ranks]


def cut(own: Sequence[int], lengths: Sequence[int], limit: Limit) -> Cut:
    """Micro-batches of `own` within `limit`: consecutive sequences, or for a limit in tokens, similar lengths."""
    if not limit.tokens:
        return [list(own[start : start + limit.sequences]) for start in range(0, len(own), limit.sequences)]
    batches: Cut = []
    for index in sorted(own, key=lambda index: (-lengths[index], index)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= limit.tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def micro_batches(update: Sequence[int], lengths: Sequence[int], limit: Limit, rank: int, ranks: int) -> Cut:
    """The micro-batches of one rank; all ranks get the same number, so some may be empty."""
    cuts = [cut(share(update, lengths, other, ranks), lengths, limit) for other in range(ranks)]
    return cuts[rank] + [[] for _ in range(max(map(len, cuts)) - len(cuts[rank]))]


@dataclass(frozen=True)
class Update:
    """The sequences of one update on all ranks, and this rank's sequences with their signals."""

    indices: list[int]
    items: dict[int, dict[str, Any]]


class Updates(Dataset[Update]):
    """The training sequences by updates. A rank reads its share of an update, signals included."""

    def __init__(self, dataset: SequenceDataset, rank: int, ranks: int) -> None:
        self.dataset, self.rank, self.ranks = dataset, rank, ranks
        self.lengths, self.num_tokens = array("i"), array("i")
        for sequence in dataset.sequences:
            self.lengths.append(len(sequence.input_ids))
            self.num_tokens.append(len(sequence.labels) - 1 - sequence.labels[1:].count(IGNORE_INDEX))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Update:
        """An update of one sequence."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Update:
        """The update of these sequences; a data loader passes the indices of a whole batch at once."""
        own = share(indices, self.lengths, self.rank, self.ranks)
        return Update(indices, {index: self.dataset[index] for index in own})

    def count_tokens(self, update: Update) -> int:
        """Number of response tokens of an update on all ranks."""
        return sum(self.num_tokens[index] for index in update.indices)

    def sizes(self, update: Update, limit: Limit) -> list[tuple[int, int]]:
        """Of each micro-batch of an update, on all ranks: its sequences, and its tokens with padding."""
        shares = [share(update.indices, self.lengths, rank, self.ranks) for rank in range(self.ranks)]
        batches = [batch for own in shares for batch in cut(own, self.lengths, limit)]
        return [(len(batch), len(batch) * max(self.lengths[index] for index in batch)) for batch in batches]

    def cut(self, update: Update, limit: Limit) -> list[list[dict[str, Any]]]:
        """This rank's micro-batches of an update; an empty one gets a sequence without counted labels."""
        batches = micro_batches(update.indices, self.lengths, limit, self.rank, self.ranks)
        return [[update.items[index] for index in batch] or [self.dataset[len(self.dataset)]] for batch in batches]


class UpdateSampler(Sampler[list[int]]):
    """Consecutive sequences of an epoch's order, one update at a time; the same on all ranks."""

    def __init__(self, order: LengthGroupedSampler, size: int) -> None:
        self.order, self.size = order, size
        self.batch_sampler = self  # transformers looks for set_epoch here if no other sampler wraps this one

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the trainer calls this at the start of each one."""
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.order)
        return iter([order[start : start + self.size] for start in range(0, len(order), self.size)])
