"""What the ranks of a training do together, beyond their micro-batches."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def is_replicated(model: nn.Module) -> bool:
    """Whether each of several ranks holds all weights, so that `add_gradients` adds the gradients."""
    return isinstance(model, DistributedDataParallel)


def any_rank(here: bool, device: torch.device) -> bool:
    """Whether `here` is true on any rank; all ranks must call this."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return here
    flag = torch.tensor(float(here), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


def add_gradients(model: nn.Module) -> None:
    """Replace the gradient of every trained weight by its sum over the ranks.

    DDP would add them during the last backward pass. A rank that runs out of memory there would leave the others
    waiting.
    """
    works = []
    for weight in model.parameters():
        if weight.requires_grad:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            works.append(dist.all_reduce(weight.grad, async_op=True))
    for work in works:
        work.wait()


def get_random_state() -> tuple[Tensor, Tensor | None]:
    """The state of torch's generators on this process's CPU and GPU."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    """Restore a state of `get_random_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
