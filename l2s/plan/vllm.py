"""Time and memory of a model in vLLM: the products of the prompts, then the bytes that decoding reads, in full batches.

tests/plan/test_vllm.py compares them with published throughputs: GPUStack's performance lab, Qwen3-14B and Qwen3-32B in
bfloat16, one A100 SXM 80 GB, vLLM 0.11.0 without tuning, `vllm bench`. ShareGPT, 1,000 requests, 217,393 + about
200,000 tokens: 3,922 and 1,731 tokens/s, prompts and answers together. Prompts of 2,000 and answers of 100 tokens:
5,967 and 2,521. From the same source, Qwen3-235B-A22B (FP8, 8 x A100): 9,343 tokens/s at 2,000 + 100. That is 51
TFLOP/s a GPU, where dense models reach 170, so the products of a mixture of experts are that much slower. No
trustworthy figure was found for Qwen3-30B-A3B on A100 cards of 40 GB.
"""

from __future__ import annotations

from l2s.config import Quantization
from l2s.generation.engines.vllm_process import GPU_SHARE, Runner
from l2s.models.stored import CACHE_SHARE
from l2s.plan.hardware import GIB, Hardware
from l2s.plan.model_size import ModelSize
from l2s.plan.parts import Memory, Texts

VLLM_START_S = 75.0  # assumed: its processes, compilation, CUDA graphs
VLLM_SHARE = 0.85  # share of the roofline below: the figures above are 0.75 to 1.05 of it
MOE_PRODUCTS = 0.3  # share of the rate of dense products: 51 of 170 TFLOP/s, see above
SPLIT_SHARE = 0.85  # share of a device's rates when a model is split over several: assumed, for NVLink
SEQUENCES = 256  # decoded together: vLLM's default max_num_seqs
STEP_S = 2e-3  # assumed: scheduling and launching one step
PROCESS_BYTES = int(0.8 * GIB)  # the CUDA context
ACTIVATIONS = 2 * GIB  # assumed: kept free by vLLM for a step of 8,192 tokens


def prefill_seconds(hardware: Hardware, size: ModelSize, *, tokens: float, length: float, split: int) -> float:
    """Time of the products of `tokens` prompt tokens that attend to `length`, on `split` devices."""
    flops = tokens * (2 * size.body + 2 * length * size.queries * size.layers)
    return flops / _products(hardware, size, split)


def answer_seconds(
    hardware: Hardware, size: ModelSize, texts: list[Texts], quantization: Quantization, *, split: int
) -> float:
    """Time of all answers: the prompts, the steps of full batches, then the rest of the longest answer."""
    number = sum(text.number for text in texts)
    prompt = sum(text.number * text.prompt for text in texts) / number
    answer = sum(text.number * text.answer for text in texts) / number
    length = prompt + answer / 2
    together = max(1.0, min(number, SEQUENCES, _cache_room(hardware, size, quantization, split) / (prompt + answer)))
    bandwidth = hardware.bandwidth * _gain(split)
    weights = size.read_bytes(quantization, together) + size.head * size.element_bytes
    products = 2 * together * (size.body + size.head) / _products(hardware, size, split)
    step = max(products, weights / bandwidth) + together * length * size.cache_bytes / bandwidth + STEP_S
    steps = number * answer / together + max(text.longest_answer for text in texts) - answer
    prefill = prefill_seconds(hardware, size, tokens=number * prompt, length=prompt, split=split)
    return (prefill + steps * step) / VLLM_SHARE


def vllm_memory(
    hardware: Hardware, size: ModelSize, quantization: Quantization, *, split: int, runner: Runner
) -> Memory:
    """Bytes on each of `split` devices. vLLM fills its share of the memory with cache, and needs a minimum of it."""
    weights, least = size.weight_bytes(quantization) / split, CACHE_SHARE * hardware.memory
    activations = min(ACTIVATIONS, least / 2)
    rest = GPU_SHARE[runner] * hardware.memory - PROCESS_BYTES - weights
    return Memory(weights=weights, activations=activations, cache=max(rest, least) - activations)


def _cache_room(hardware: Hardware, size: ModelSize, quantization: Quantization, split: int) -> float:
    """Number of tokens whose keys and values fit; any number of a model that keeps none."""
    if not size.cache_bytes:
        return float("inf")
    return vllm_memory(hardware, size, quantization, split=split, runner="generate").cache * split / size.cache_bytes


def _products(hardware: Hardware, size: ModelSize, split: int) -> float:
    return hardware.products * _gain(split) * (MOE_PRODUCTS if size.num_experts else 1)


def _gain(split: int) -> float:
    return split * SPLIT_SHARE if split > 1 else 1
