"""A model whose layers are on two GPUs. Torch's fake mode has devices and shapes, and computes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from transformers import AutoModelForCausalLM, Qwen3Config

from l2s.generation.engines.static_decoding import has_static_steps
from l2s.loss.logit_transform import IDENTITY
from l2s.models.attention import use_grouped_attention
from l2s.models.head import Head, logit_transform
from l2s.signals.hidden import ModelHidden

FIRST, SECOND = "cuda:0", "cuda:1"


class Layers(nn.Module):
    """Begins on the first GPU and ends on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(16, 4, device=FIRST), requires_grad=False)

    def forward(self, input_ids: Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=nn.functional.embedding(input_ids, self.embeddings).to(SECOND))


class Spread(nn.Module):
    """Its head is on the second GPU; accelerate brings the logits back to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Qwen3Config(vocab_size=16, hidden_size=4)
        self.layers, self.head = Layers(), nn.Linear(4, 16, bias=False)
        self.head.weight = nn.Parameter(torch.empty(16, 4, device=SECOND), requires_grad=False)

    def forward(self, input_ids: Tensor, use_cache: bool) -> Any:
        return SimpleNamespace(logits=self.head(self.layers(input_ids).last_hidden_state).to(FIRST))

    def get_decoder(self) -> nn.Module:
        return self.layers

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def test_its_head_is_compared_with_its_logits() -> None:
    with FakeTensorMode():
        model = Spread()
        with pytest.raises(DataDependentOutputException):  # the result of the comparison, which fake numbers lack
            logit_transform(model)


def test_its_hidden_states_come_to_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        head = Head(torch.empty(16, 4, device=FIRST), IDENTITY)  # tied to the embeddings
        monkeypatch.setattr(Head, "of", lambda model: head)
        monkeypatch.setattr(ModelHidden, "_rows", lambda self, batch: torch.empty(3, 4, device=SECOND))
        (rows,) = ModelHidden(Spread()).of([[]])  # type: ignore[arg-type]
    assert rows.device == head.weight.device


def test_it_is_not_decoded_in_steps_of_one_gpu(tiny_model_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir / "teacher")
    use_grouped_attention(model, "cuda")
    assert has_static_steps(model)
    model.model.layers[1].to("meta")
    assert not has_static_steps(model)
