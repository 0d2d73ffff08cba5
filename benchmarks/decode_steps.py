"""Decoding a batch on a GPU: steps of one shape as CUDA graphs, the same steps launched one by one, and `generate`.

    python benchmarks/decode_steps.py [--prompts 512] [--prompt_tokens 150] [--steps 64]

The model has the shape of Qwen2.5-1.5B and random weights, in bfloat16. `generate` runs once with grouped attention and
once with transformers' own, which copies each key-value head for its group as soon as one prompt is padded. Prints the
milliseconds of a step for the whole batch. Before, a small model in float32 checks that both ways give the same tokens.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from l2s.generation.engines import static_decoding
from l2s.generation.engines.protocol import Sampling
from l2s.generation.engines.static_decoding import decode, has_static_steps
from l2s.models.attention import use_grouped_attention

SHAPE: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
}
SMALL: dict[str, Any] = {**SHAPE, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 4}


def build(shape: dict[str, Any], dtype: torch.dtype, device: str) -> Any:
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**shape), dtype=dtype)
    model.requires_grad_(False).eval()
    use_grouped_attention(model, "cuda")
    assert has_static_steps(model)
    return model


def generate(model: Any, prompts: torch.Tensor, mask: torch.Tensor, steps: int) -> list[list[int]]:
    options = {"max_new_tokens": steps, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    tokens: list[list[int]] = model.generate(prompts, attention_mask=mask, **options)[:, prompts.shape[1] :].tolist()
    return tokens


def same_tokens(device: str) -> str:
    model = build(SMALL, torch.float32, device)
    lengths = (40, 7, 19, 100, 1, 33, 64, 12)
    prompts = [torch.randint(5, 20_000, (length,)).tolist() for length in lengths]
    found = decode(model, prompts, Sampling(64), stop_ids={-1}, pad_id=0, seed=0)
    padded = torch.tensor([[0] * (max(lengths) - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (max(lengths) - length) + [1] * length for length in lengths], device=device)
    expected = generate(model, padded, mask, 64)
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    return f"the same 64 greedy tokens in {same} of {len(lengths)} answers (float32)"


def milliseconds(work: Callable[[], object], steps: int) -> float:
    """Of one step, in the faster of two runs: the first one of all prepares libraries."""
    best = float("inf")
    for _ in range(2):
        begin = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return 1000 * best / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--prompt_tokens", type=int, default=150)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--small", action="store_true", help="a small model, to try the script on a CPU")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU: no graphs here", torch.__version__)
    print(same_tokens(device))
    model = build(SMALL if arguments.small else SHAPE, torch.bfloat16, device)
    tokens = torch.randint(5, 20_000, (arguments.prompts, arguments.prompt_tokens), device=device)
    mask = torch.ones_like(tokens)
    mask[0, 0] = 0  # one prompt is shorter
    prompts = [row[1:] if number == 0 else row for number, row in enumerate(tokens.tolist())]

    def static() -> object:
        return decode(model, prompts, Sampling(arguments.steps), stop_ids={-1}, pad_id=0, seed=0)

    rows = {"one graph a step": milliseconds(static, arguments.steps)}
    capture, static_decoding._capture = static_decoding._capture, lambda step: None
    rows["the same step, launched by Python"] = milliseconds(static, arguments.steps)
    static_decoding._capture = capture

    def by_generate() -> object:
        return generate(model, tokens, mask, arguments.steps)

    rows["generate, grouped attention"] = milliseconds(by_generate, arguments.steps)
    model.set_attn_implementation("sdpa")
    rows["generate, transformers' attention"] = milliseconds(by_generate, arguments.steps)
    for name, found in rows.items():
        print(f"{name:<36} {found:8.1f} ms a step, {arguments.prompts / found:6.1f} tokens/ms")


if __name__ == "__main__":
    main()
