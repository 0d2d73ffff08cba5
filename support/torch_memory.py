"""What torch allocates on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_bytes(run: Callable[[], None]) -> int:
    """Peak memory of torch's CPU allocator in `run`, above its level before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events: Any = profiler.profiler
    memory = [event for event in events.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(memory, key=lambda event: int(event.start_ns())):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
