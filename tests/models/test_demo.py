"""The demo's student: the teacher without some of its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from l2s.errors import UserError
from l2s.models import demo
from l2s.models.demo import drop_layers
from l2s.presets import DEMO_BASE

TOKENS = torch.arange(12)[None]


def test_a_pruned_model_loses_the_named_layers_and_survives_saving(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=5, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, initializer_range=0.2,
    )  # fmt: skip
    model: Any = Qwen3ForCausalLM(config)
    model.eval()
    kept = [model.model.layers[index].mlp.up_proj.weight for index in (0, 1, 3, 4)]
    pruned: Any = drop_layers(model, dropped=(2,))
    assert [layer.mlp.up_proj.weight for layer in pruned.model.layers] == kept
    whole = pruned(TOKENS).logits
    start = pruned(TOKENS[:, :-1], use_cache=True)  # the cache is indexed by layer number
    last = pruned(TOKENS[:, -1:], past_key_values=start.past_key_values).logits
    torch.testing.assert_close(last[:, 0], whole[:, -1])
    pruned.save_pretrained(tmp_path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(TOKENS).logits, whole)


def test_two_processes_do_not_make_one_demo_model_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would remove what the other has written so far."""
    monkeypatch.setenv("L2S_CACHE", str(tmp_path))
    folder, made = Path(demo.locate(DEMO_BASE)), []

    def build(folder: Path) -> None:
        with pytest.raises(UserError, match=r"another process is making this demo model; wait for it"):
            demo.build_if_missing(folder)
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        made.append(folder)

    monkeypatch.setattr(demo, "_build", build)
    demo.build_if_missing(folder)
    demo.build_if_missing(folder)
    assert made == [folder]
