"""The order of training sequences: batches of similar length, to save padding, in random order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

MIXED_UPDATE = 16  # sequences from which an update must hold several groups
GROUPS_OF_UPDATE = 4


def group_size(batch_size: int, update_size: int) -> int:
    """Sequences of a group: a micro-batch, but in a large update at most a quarter of it.

    Length depends on the domain, so a large update of one group would teach one domain alone.
    """
    return min(batch_size, update_size // GROUPS_OF_UPDATE) if update_size >= MIXED_UPDATE else batch_size


class LengthGroupedSampler(Sampler[int]):
    """Groups by length as transformers does, then shuffles the groups.

    Length depends on the domain: without the shuffle, consecutive updates would hold one domain. The order of an epoch
    depends only on seed and epoch, so a training that resumes in a later epoch sees the same sequences.
    """

    def __init__(self, lengths: Sequence[int], group_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.group_size = group_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the trainer calls this at the start of each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        indices = get_length_grouped_indices(self.lengths, self.group_size, generator=generator)
        whole = len(indices) // self.group_size * self.group_size
        groups = torch.tensor(indices[:whole], dtype=torch.long).view(-1, self.group_size)
        shuffled = groups[torch.randperm(len(groups), generator=generator)].flatten().tolist()
        # An incomplete group stays last; elsewhere it would shift all groups after it.
        return iter([*shuffled, *indices[whole:]])
