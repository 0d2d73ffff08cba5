"""Sizes and costs of models: compared with public figures, loaded models, and torch's allocations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import (
    GPT2Config,
    Mamba2Config,
    MambaConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen3_5MoeTextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from l2s.config import ExperimentConfig, Quantization
from l2s.errors import UserError
from l2s.models.load import load_model, load_student_for_training, prepare_for_training, weight_bytes
from l2s.plan.known_models import as_folders, known_config
from l2s.plan.model_size import FORWARD, TRAINING, ModelSize, lora_parameters, size_of
from support.torch_memory import peak_bytes

MakeConfig = Callable[..., ExperimentConfig]
BF16 = ExperimentConfig(dtype="bfloat16")  # `auto` is float32 on a CPU without bfloat16 units
QWEN3_30B_A3B = known_config("Qwen/Qwen3-30B-A3B")
SMALL: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 2,
    "vocab_size": 304,
}  # fmt: skip


def saved(config: PreTrainedConfig, folder: Path) -> str:
    """A model folder that holds a configuration and no weights."""
    config.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def small_moe(tmp_path: Path) -> str:
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        **SMALL, moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2, tie_word_embeddings=False
    )
    model: Any = Qwen3MoeForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "moe")
    return str(tmp_path / "moe")


@pytest.mark.parametrize(
    ("name", "parameters", "active"),
    [
        ("Qwen3-0.6B", 0.6e9, 0.6e9), ("Qwen3-1.7B", 1.72e9, 1.72e9), ("Qwen3-4B", 4.02e9, 4.02e9),
        ("Qwen3-8B", 8.19e9, 8.19e9), ("Qwen3-14B", 14.8e9, 14.8e9),
        ("Qwen3-32B", 32.8e9, 32.8e9), ("Qwen3-30B-A3B", 30.5e9, 3.3e9),
        ("Qwen3-30B-A3B-Instruct-2507", 30.5e9, 3.3e9),
    ],
)  # fmt: skip
def test_parameters_are_the_published_ones(name: str, parameters: float, active: float) -> None:
    given = ExperimentConfig(teacher_model=f"Qwen/{name}", dtype="bfloat16")
    with as_folders(given) as (config, names):
        assert names[config.teacher_model] == given.teacher_model
        size = size_of(config.teacher_model, config)
    assert size.parameters == pytest.approx(parameters, rel=0.01 if parameters > 1e9 else 0.02)
    assert size.active_parameters == pytest.approx(active, rel=0.02)  # published with two digits
    assert size.checkpoint_bytes == 2 * size.parameters  # there are no files to look at


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
@pytest.mark.parametrize("model", ["teacher", "student", "moe"])
def test_weights_take_what_the_loaded_model_takes(
    tiny_config: MakeConfig, small_moe: str, model: str, quantization: Quantization
) -> None:
    config = tiny_config(dtype="bfloat16")
    name = small_moe if model == "moe" else getattr(config, f"{model}_model")
    loaded = load_model(name, config, quantization=quantization)
    assert size_of(name, config).weight_bytes(quantization) == weight_bytes(loaded)


def test_quantisation_leaves_experts_as_they_are(small_moe: str) -> None:
    size = size_of(small_moe, BF16)
    assert size.weight_bytes("none") - size.weight_bytes("nf4") == 1.5 * size.linear_parameters
    assert size.expert_parameters > 0.5 * size.parameters - size.head * 2
    assert size.linear_parameters < size.parameters - size.expert_parameters


def test_the_cache_of_a_token_is_the_real_one(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    model = load_model(config.teacher_model, config)
    cache = model(torch.ones(3, 7, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert size_of(config.teacher_model, config).cache_bytes == held / 21


@pytest.mark.parametrize("tuning", ["full", "lora", "qlora"])
@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
def test_trained_weights_are_those_of_the_student(tiny_config: MakeConfig, tuning: str, targets: str) -> None:
    config = tiny_config(tuning=tuning, lora_target_modules=targets, dtype="bfloat16")
    student = load_student_for_training(config.student_model, config)
    trained = sum(weight.numel() for weight in student.parameters() if weight.requires_grad)
    size = size_of(config.student_model, config)
    assert trained == (size.parameters if tuning == "full" else lora_parameters(config.student_model, config))


def test_a_pass_reads_the_experts_that_its_tokens_choose(tmp_path: Path) -> None:
    size = size_of(saved(QWEN3_30B_A3B, tmp_path), BF16)
    assert size.read_bytes("none", 16, gathered=True) > 174e9  # bytes that transformers moves in a step of 16 answers
    one, all_of_them = size.read_bytes("none", 1), size.read_bytes("none", 10_000)
    assert one == 2 * size.body
    assert all_of_them == pytest.approx(2 * (size.parameters - 2 * size.head), rel=1e-3)
    assert one < size.read_bytes("none", 16) < all_of_them


def test_a_name_that_cannot_be_had_says_to_give_a_folder() -> None:
    with pytest.raises(UserError, match=r"student_model='no/such-model'.*give a local folder"):
        size_of("no/such-model", ExperimentConfig(student_model="no/such-model"))


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations and the bytes that all but products and views read and write."""

    PRODUCTS = ("mm", "addmm", "bmm", "embedding", "embedding_dense_backward", "scaled_dot_product")
    VIEWS = ("view", "_unsafe_view", "t", "transpose", "slice", "expand", "unsqueeze", "squeeze", "detach", "alias",
             "permute", "select", "split", "as_strided", "unbind", "_reshape_alias")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in self.VIEWS:
            self.operations += 1
            if not any(product in name for product in self.PRODUCTS):
                tensors = tree_flatten((args, kwargs, result))[0]
                self.bytes += sum(item.nbytes for item in tensors if isinstance(item, Tensor))
        return result


WIDE: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
    "vocab_size": 64,
}  # fmt: skip


def passes(layers: int, tokens: int, *, full: bool, checkpointed: bool) -> Callable[[], None]:
    """A training step of the decoder, ready to run."""
    model: Any = Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=layers, **WIDE))
    tuning = "full" if full else "lora"
    config = ExperimentConfig(tuning=tuning, gradient_checkpointing=checkpointed, lora_r=1)
    if not full:
        model = model.to(torch.bfloat16)
    student: Any = prepare_for_training(model, config)
    decoder: nn.Module = (student if full else student.get_base_model()).get_decoder()
    ids = torch.ones(2, tokens // 2, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0

    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden: Any = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        hidden.backward(torch.ones_like(hidden))

    return run


def watched(layers: int, tokens: int, **kind: bool) -> tuple[int, int]:
    run = passes(layers, tokens, **kind)
    with Watch() as watch:
        run()
    return watch.bytes, watch.operations


def size_of_wide(layers: int, folder: Path) -> ModelSize:
    return size_of(saved(Qwen3Config(num_hidden_layers=layers, **WIDE), folder), BF16)


@pytest.mark.parametrize(("full", "checkpointed"), TRAINING)
def test_bytes_moved_and_launches_of_training_are_as_counted(full: bool, checkpointed: bool, tmp_path: Path) -> None:
    kind = {"full": full, "checkpointed": checkpointed}
    (few_2, _), (many_2, _) = watched(2, 64, **kind), watched(2, 128, **kind)
    (few_3, launches_3), (many_3, _) = watched(3, 64, **kind), watched(3, 128, **kind)
    launches_2 = watched(2, 64, **kind)[1]
    a_token_in_a_layer = ((many_3 - few_3) - (many_2 - few_2)) / 64
    pattern = TRAINING[full, checkpointed]
    assert size_of_wide(2, tmp_path).moved_bytes(pattern) == pytest.approx(a_token_in_a_layer, rel=0.15)
    assert pattern.launches * 59 == pytest.approx(launches_3 - launches_2, rel=0.15)  # 59 in a forward pass


def test_bytes_moved_without_gradients_are_as_counted(tmp_path: Path) -> None:
    counted = []
    for layers in (2, 3):
        model: Any = Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=layers, **WIDE))
        decoder = model.to(torch.bfloat16).get_decoder()
        for length in (32, 64):
            mask = torch.ones(2, length, dtype=torch.long)
            mask[0, 0] = 0
            with torch.no_grad(), Watch() as watch:
                decoder(input_ids=torch.ones_like(mask), attention_mask=mask, use_cache=False)
            counted.append(watch.bytes)
    a_token_in_a_layer = ((counted[3] - counted[2]) - (counted[1] - counted[0])) / 64
    assert size_of_wide(2, tmp_path).moved_bytes(FORWARD) == pytest.approx(a_token_in_a_layer, rel=0.15)


@pytest.mark.parametrize(("full", "checkpointed"), TRAINING)
def test_activations_of_training_take_what_torch_allocates(full: bool, checkpointed: bool, tmp_path: Path) -> None:
    small, large = (peak_bytes(passes(4, tokens, full=full, checkpointed=checkpointed)) for tokens in (512, 1024))
    size = size_of_wide(4, tmp_path)
    expected = size.training_peak(512, full=full, checkpointed=checkpointed, spread=True)
    assert expected == pytest.approx(large - small, rel=0.25)


def test_nf4_is_read_as_it_is_for_a_single_token_and_unpacked_for_more(tiny_config: MakeConfig) -> None:
    size = size_of(tiny_config().student_model, tiny_config(dtype="bfloat16"))
    assert size.read_bytes("nf4", 1) == 0.5 * size.linear_parameters + 2 * (size.body - size.linear_parameters)
    assert size.read_bytes("nf4", 2) > size.read_bytes("none", 2)


def test_a_mixture_takes_at_prefill_what_was_measured(tmp_path: Path) -> None:
    size = size_of(saved(QWEN3_30B_A3B, tmp_path), BF16)
    assert size.forward_peak(1) / (size.hidden * size.element_bytes) == pytest.approx(32.2, rel=0.05)


def test_fp8_halves_all_but_embeddings_head_and_norms(tmp_path: Path) -> None:
    size = size_of(saved(QWEN3_30B_A3B, tmp_path), BF16)
    assert size.weight_bytes("none") - size.weight_bytes("fp8") == pytest.approx(
        size.parameters - 2 * size.head, rel=1e-3
    )


@pytest.mark.parametrize(
    ("config", "intermediate", "queries", "keys"),
    [
        (MambaConfig(vocab_size=304, hidden_size=32, num_hidden_layers=1), 64, 0, 0),
        (Mamba2Config(vocab_size=304, hidden_size=32, num_hidden_layers=1, num_heads=8, head_dim=8), 64, 0, 0),
        (GPT2Config(vocab_size=304, n_embd=32, n_layer=1, n_head=2), 128, 32, 32),
        (OPTConfig(vocab_size=304, hidden_size=32, ffn_dim=96, num_hidden_layers=1, num_attention_heads=2), 96, 32, 32),
        (
            Qwen3_5MoeTextConfig(**SMALL, moe_intermediate_size=48, num_experts=4, num_experts_per_tok=2),
            96, 64, 32,
        ),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_model_without_heads_or_with_other_names_for_its_mlp_has_sizes(
    config: PreTrainedConfig, intermediate: int, queries: int, keys: int, tmp_path: Path
) -> None:
    size = size_of(saved(config, tmp_path), BF16)
    assert (size.intermediate, size.queries, size.keys) == (intermediate, queries, keys)
