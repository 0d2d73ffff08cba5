"""Time and memory of answers through transformers: the prompts of a batch, then a pass for every further token.

The model decides whether it decodes in steps of one shape (`l2s/generation/engines/static_decoding.py`) or through
`generate`. On a GPU three ways exist. Their constants come from `benchmarks/decode_steps.py` on an H100, 512 prompts of
150 tokens, the shape of Qwen2.5-1.5B, bfloat16 (docs/PERFORMANCE.md): a step took 14 ms as a CUDA graph, 31 ms launched
by Python, 108 ms through `generate`.

- `graph`: a step of one shape, captured. Dense models without quantisation.
- `launched`: the same step, launched by Python. Nobody has seen whether steps of experts, of quantised weights or on
  several GPUs can be captured, so the plan counts on the slower way.
- `generate`: models with layers that see part of the tokens, or that transformers cannot compile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil, inf

from l2s.config import Quantization
from l2s.generation.engines.static_decoding import ALIGNED, PREFILL_TOKENS
from l2s.generation.engines.static_decoding import SEGMENT_STEPS as STATIC_SEGMENT
from l2s.generation.engines.transformers import SEGMENT_STEPS as GENERATE_SEGMENT
from l2s.plan.hardware import Hardware
from l2s.plan.model_size import FORWARD, ModelSize
from l2s.plan.parts import Memory, Texts

DRAWING_BYTES = 42  # for a logit: widened, divided, softmax, an exponential wait, their quotient, the largest


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        segment: steps after which finished answers leave the batch.
        cache_passes: how often a step reads or writes the bytes of all keys and values.
        captured: whether a step is one launch.
        gathered: whether each token gets a copy of its experts.
    """

    segment: float
    cache_passes: float
    captured: bool = False
    gathered: bool = False


GRAPH = Way(STATIC_SEGMENT["cuda"], 1, captured=True)
LAUNCHED = Way(STATIC_SEGMENT["cuda"], 1)
# 108 - 31 ms for 2.7 GB of keys and values at 2.85 TB/s: the cache is copied to lengthen it, and attention with a mask
# whose length is no multiple of 8 widens it to float32. Experts are gathered, see EXPERT_COPIES.
GENERATE = Way(GENERATE_SEGMENT["cuda"], 82, gathered=True)
ON_CPU = Way(STATIC_SEGMENT["cpu"], 1)  # attention.py reads grouped heads in place
GENERATE_ON_CPU = Way(inf, 3)  # the cache is read, and copied to lengthen it
STATIC = (GRAPH, LAUNCHED, ON_CPU)


def way_of(hardware: Hardware, size: ModelSize, quantization: Quantization, split: int = 1) -> Way:
    """The way in which a model decodes on `split` devices like `hardware`."""
    if not hardware.is_cuda:
        return ON_CPU if size.static_steps else GENERATE_ON_CPU
    if not size.static_steps:
        return GENERATE
    return LAUNCHED if size.num_experts or quantization != "none" or split > 1 else GRAPH


def answer_seconds(
    hardware: Hardware,
    size: ModelSize,
    texts: list[Texts],
    batch_size: int,
    quantization: Quantization,
    *,
    split: int = 1,
    drawn: bool = False,
) -> float:
    """Time of all answers, `drawn` or greedy. Each text is a batch of its own kind.

    Steps run until the longest answer ends. Finished answers leave after each segment, so what a step computes for each
    row counts for the tokens of the answers, rounded up by half a segment.
    """
    way = way_of(hardware, size, quantization, split)
    batch = min(batch_size, sum(text.number for text in texts))
    total = 0.0
    for text in texts:
        batches, steps = text.number / batch, text.longest_answer
        running = batch * min(1.0, (text.answer + way.segment / 2) / steps)
        length = text.prompt + steps / 2 + (way.segment / 2 if way in STATIC else 0)
        prefill = size.seconds(
            hardware,
            FORWARD,
            tokens=text.number * text.prompt,
            passes=batches,
            length=text.prompt,
            quantization=quantization,
        )
        step = _step_seconds(hardware, size, way, running, length, quantization)
        if drawn:
            step += DRAWING_BYTES * running * size.vocabulary / hardware.bandwidth
        total += prefill + batches * steps * step
    return total


def _step_seconds(
    hardware: Hardware, size: ModelSize, way: Way, rows: float, length: float, quantization: Quantization
) -> float:
    """Time of one step for `rows` answers whose keys and values have `length` tokens."""
    run = partial(size.seconds, hardware, FORWARD, tokens=rows, passes=1, length=length, quantization=quantization)
    layers = run(captured=way.captured, gathered=way.gathered)
    cache = rows * length * size.cache_bytes * way.cache_passes / hardware.weights
    return layers + size.head_seconds(hardware, tokens=rows, passes=1) + cache


def answer_memory(
    hardware: Hardware,
    size: ModelSize,
    texts: list[Texts],
    batch_size: int,
    quantization: Quantization,
    *,
    max_new_tokens: int,
    split: int = 1,
) -> Memory:
    """Bytes while the widest batch is answered, on each of `split` devices that share the layers."""
    way = way_of(hardware, size, quantization, split)
    batch = min(batch_size, ceil(sum(text.number for text in texts)))
    prompt = max(text.longest_prompt for text in texts)
    slots, tokens = prompt + max_new_tokens, batch * prompt
    if way in STATIC:  # all slots exist from the start, and prompts are prefilled in parts
        at_a_time = PREFILL_TOKENS["cuda" if hardware.is_cuda else "cpu"]
        slots, tokens = -(-slots // ALIGNED) * ALIGNED, min(tokens, max(prompt, at_a_time))
    cache = batch * slots * size.cache_bytes
    # of one layer: lengthened or without the finished answers; `generate` on CUDA also spreads it over all heads
    one_layer = cache / size.layers * (1 + (size.queries / size.keys if way is GENERATE and size.keys else 0))
    return Memory(
        weights=(size.weight_bytes(quantization) + size.scale_bytes(quantization)) / split,
        activations=max(size.forward_peak(tokens), one_layer),
        cache=cache / split,
        buffers=batch * size.vocabulary * (size.element_bytes + 4),
    )
