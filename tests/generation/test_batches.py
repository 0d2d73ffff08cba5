"""How prompts are cut into batches: by their number, and by the padding beside a longer prompt."""

from __future__ import annotations

from l2s.generation.engines.batches import cut_batches
from l2s.generation.engines.protocol import Request


def lengths(prompts: list[int], *, batch_size: int, padding: int) -> list[list[int]]:
    requests = [Request(str(number), [0] * length) for number, length in enumerate(prompts)]
    return [[len(request.prompt_ids) for request in batch] for batch in cut_batches(requests, batch_size, padding)]


def test_one_long_prompt_does_not_widen_a_batch_of_short_ones() -> None:
    assert lengths([50] * 40 + [1000] + [50] * 23, batch_size=64, padding=2048) == [[1000, 50, 50], [50] * 61]


def test_prompts_of_one_length_fill_their_batches() -> None:
    assert lengths([1000] * 5, batch_size=2, padding=0) == [[1000, 1000], [1000, 1000], [1000]]
    assert lengths([], batch_size=2, padding=0) == []


def test_a_batch_has_at_most_the_padding_that_it_may_have() -> None:
    prompts = [7 * number % 101 + 1 for number in range(100)]
    batches = lengths(prompts, batch_size=16, padding=64)
    assert sorted(length for batch in batches for length in batch) == sorted(prompts)
    assert all(len(batch) <= 16 and max(batch) * len(batch) - sum(batch) <= 64 for batch in batches)
