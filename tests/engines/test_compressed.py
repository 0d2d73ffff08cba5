"""A teacher that others quantised with compressed-tensors; the environment of vLLM has that package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from l2s.config import ExperimentConfig
from l2s.models.load import load_model
from l2s.models.tiny import build_tokenizer, save_tiny_model
from l2s.runner.model_checks import check_weights

TOKENS = torch.arange(3, 40)[None]


def test_packed_eight_bit_weights_load_with_their_own_settings(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    save_tiny_model(plain, seed=1, hidden_size=64, vocab_size=320, tied=False)
    expected = _pack(plain, packed)
    config = ExperimentConfig(teacher_model=str(packed), student_model=str(plain), dtype="float32", device="cpu")
    check_weights("teacher_model", config, {"generate", "score"})
    model: Any = load_model(str(packed), config)
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).logits, expected, rtol=1e-4, atol=1e-4)


def _pack(plain: Path, packed: Path) -> torch.Tensor:
    """Round the linear layers of `plain` to 8 bits a channel and save them packed; the logits of the rounded model."""
    quantization: Any = pytest.importorskip("compressed_tensors.quantization")
    compressors: Any = pytest.importorskip("compressed_tensors")
    model: Any = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    weights = quantization.QuantizationArgs(num_bits=8, type="int", strategy="channel", symmetric=True)
    scheme = quantization.QuantizationScheme(targets=["Linear"], weights=weights)
    settings = quantization.QuantizationConfig(
        config_groups={"group_0": scheme},
        ignore=["lm_head"],
        quantization_status="initialized",
        format="pack-quantized",
    )
    quantization.apply_quantization_config(model, settings)
    rounded: Any = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    for path, module in model.named_modules():
        if hasattr(module, "weight_scale"):
            scale = module.weight.detach().abs().amax(1, keepdim=True) / 127
            module.weight_scale.data.copy_(scale)
            rounded.get_submodule(path).weight.data.copy_((module.weight / scale).round().clamp(-128, 127) * scale)
    with torch.no_grad():
        logits: torch.Tensor = rounded(TOKENS).logits
    compressor = compressors.ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(packed)
    compressor.update_config(packed)
    build_tokenizer().save_pretrained(packed)
    return logits
