"""Loading and saving models: clear errors, and a merged student that equals the trained one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.devices import peak_memory_bytes, pick_device
from l2s.errors import UserError
from l2s.loss.logit_transform import IDENTITY, LogitTransform
from l2s.models import load
from l2s.models.head import logit_transform, output_head
from l2s.models.load import count_parameters, load_model, load_student_for_training, weight_bytes
from l2s.models.save import save_trained_student
from l2s.models.stored import stored_head
from support.tiny_gemma import save_tiny_gemma

MakeConfig = Callable[..., ExperimentConfig]
TOKENS = torch.tensor([[258, 7, 42, 99, 3]])


def logits_of(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=TOKENS).logits
    return result


def trained_student(config: ExperimentConfig) -> nn.Module:
    """A student whose weights differ from the initial ones."""
    student = load_student_for_training(config.student_model, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in student.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    return student


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_final_model_is_the_trained_student(tiny_config: MakeConfig, tmp_path: Path, tuning: str) -> None:
    config = tiny_config(tuning=tuning)
    student = trained_student(config)
    expected = logits_of(student)

    save_trained_student(student, load_renderer(config, "student_model").tokenizer, tmp_path, config)

    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "final_model")
    torch.testing.assert_close(logits_of(saved), expected, rtol=1e-4, atol=1e-4)
    assert (tmp_path / "adapter").exists() == (tuning == "lora")
    assert saved.generation_config.temperature == pytest.approx(0.7)
    assert output_head(saved).weight is saved.get_input_embeddings().weight  # tied as in the base
    assert saved.config.use_cache
    assert load_renderer(tiny_config(student_model=str(tmp_path / "final_model")), "student_model").hash()


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_generation_config_that_transformers_loads_but_refuses_to_save_stays_as_it_is(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path, tuning: str
) -> None:
    shutil.copytree(tiny_model_dir / "student", tmp_path / "base")
    odd = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [258, 256]}
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(odd))
    config = tiny_config(student_model=str(tmp_path / "base"), tuning=tuning)
    tokenizer = load_renderer(config, "student_model").tokenizer

    save_trained_student(trained_student(config), tokenizer, tmp_path, config, ends=[258])

    saved = json.loads((tmp_path / "final_model" / "generation_config.json").read_text())
    assert {name: saved.get(name) for name in ("temperature", "top_p", "eos_token_id")} == {
        "temperature": 0.6, "top_p": 0.9, "eos_token_id": [258, 256],
    }  # fmt: skip
    assert not saved.get("do_sample")


def test_a_saved_student_declares_every_end_its_own_first(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(tuning="full")
    tokenizer = load_renderer(config, "student_model").tokenizer

    save_trained_student(trained_student(config), tokenizer, tmp_path, config, ends=[256, 65])

    saved = json.loads((tmp_path / "final_model" / "generation_config.json").read_text())
    assert saved["eos_token_id"] == [256, 65, 258]


def test_qlora_merges_into_unquantised_weights(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(tuning="qlora")
    student: Any = trained_student(config)
    layer = student.base_model.model.model.layers[0].self_attn.q_proj
    update = layer.get_delta_weight("default").detach()
    base = load_model(config.student_model, config)

    save_trained_student(student, load_renderer(config, "student_model").tokenizer, tmp_path, config)

    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "final_model")
    tokenizer_settings = json.loads((tmp_path / "final_model" / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only"} & tokenizer_settings.keys()  # where it was loaded is nobody's business
    assert "quantization_config" not in json.loads((tmp_path / "final_model" / "config.json").read_text())
    moved = saved.model.layers[0].self_attn.q_proj.weight - base.model.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(moved, update, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("tuning", ["lora", "qlora", "full"])
def test_a_merge_weight_leaves_this_share_of_the_change(tiny_config: MakeConfig, tmp_path: Path, tuning: str) -> None:
    config = tiny_config(tuning=tuning)
    tokenizer = load_renderer(config, "student_model").tokenizer
    saved, adapters = {}, {}
    for weight in (1.0, 0.25):
        folder = tmp_path / str(weight)
        of_weight = config.model_copy(update={"merge_weight": weight})
        save_trained_student(trained_student(config), tokenizer, folder, of_weight)
        saved[weight] = AutoModelForCausalLM.from_pretrained(folder / "final_model")
        if tuning != "full":
            adapters[weight] = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    before = dict(load_model(config.student_model, config).named_parameters())
    whole, part = (dict(model.named_parameters()) for model in saved.values())
    assert before.keys() == whole.keys() == part.keys()
    moved = [name for name in before if not whole[name].equal(before[name])]
    assert moved
    for name, weight_before in before.items():
        expected = weight_before.double() + 0.25 * (whole[name].double() - weight_before.double())
        torch.testing.assert_close(part[name].double(), expected, rtol=1e-5, atol=1e-6)
    assert output_head(saved[0.25]).weight is saved[0.25].get_input_embeddings().weight  # moved once, and still tied
    assert len(set(adapters.values())) == (0 if tuning == "full" else 1)  # as it was trained


def test_a_share_of_a_small_change_is_computed_before_the_weights_are_rounded(
    tiny_config: MakeConfig, tmp_path: Path
) -> None:
    """Rounded first, a move of one step of bfloat16 is kept or dropped whole."""
    config = tiny_config(tuning="full", dtype="bfloat16", merge_weight=0.6)
    student = load_student_for_training(config.student_model, config)
    assert next(student.parameters()).dtype == torch.float32
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(5e-5 * torch.randn_like(weight))
    trained = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    save_trained_student(student, load_renderer(config, "student_model").tokenizer, tmp_path, config)
    saved = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "final_model").named_parameters())
    for name, start in load_model(config.student_model, config).named_parameters():
        exact = start.double() + 0.6 * (trained[name].double() - start.double())
        step = 2.0**-7 * exact.abs() + 1e-30  # of bfloat16, at most
        assert ((saved[name].double() - exact).abs() <= 0.51 * step).all(), name


def test_a_merge_weight_reaches_the_adapters_of_embeddings(tiny_config: MakeConfig, tmp_path: Path) -> None:
    base = tiny_config()
    config = base.model_copy(update={
        "tuning": "lora", "student_model": base.teacher_model, "merge_weight": 0.25,
        "lora_target_modules": "q_proj,embed_tokens",
    })  # fmt: skip
    saved = {}
    for weight in (1.0, 0.25):
        of_weight = config.model_copy(update={"merge_weight": weight})
        tokenizer = load_renderer(config, "student_model").tokenizer
        student = trained_student(config)
        save_trained_student(student, tokenizer, tmp_path / str(weight), of_weight)
        saved[weight] = AutoModelForCausalLM.from_pretrained(tmp_path / str(weight) / "final_model")
    models: list[Any] = [load_model(config.student_model, config), *saved.values()]
    before, whole, part = (model.get_input_embeddings().weight for model in models)
    assert not whole.equal(before)
    torch.testing.assert_close(part, before + 0.25 * (whole - before), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_student_beside_images_keeps_what_prepares_them(tiny_config: MakeConfig, tmp_path: Path, tuning: str) -> None:
    student = save_tiny_gemma(tmp_path / "gemma")
    (tmp_path / "gemma" / "preprocessor_config.json").write_text('{"image_processor_type": "Gemma3ImageProcessor"}')
    config = tiny_config(student_model=student, tuning=tuning)
    save_trained_student(trained_student(config), load_renderer(config, "student_model").tokenizer, tmp_path, config)
    saved = tmp_path / "final_model"
    assert json.loads((saved / "preprocessor_config.json").read_text()) == {
        "image_processor_type": "Gemma3ImageProcessor"
    }
    assert not (saved / "processor_config.json").exists()


@pytest.mark.parametrize("prefix", ["language_model.model.", "text.", ""])
def test_a_head_is_found_in_files_whose_names_have_another_prefix(
    tiny_config: MakeConfig, tmp_path: Path, prefix: str
) -> None:
    config = tiny_config(teacher_model=save_tiny_gemma(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    usual = "language_model.model."
    assert f"{usual}embed_tokens.weight" in weights  # the model itself calls it model.language_model.embed_tokens
    renamed = {name.replace(usual, prefix): weight for name, weight in weights.items()}
    save_file(renamed | {"vision.embed_tokens.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    head = stored_head(config.teacher_model, config)
    assert head.weight.equal(weights[f"{usual}embed_tokens.weight"])


def test_saving_again_replaces_the_whole_folder(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(tuning="full")
    (tmp_path / "final_model").mkdir()
    (tmp_path / "final_model" / "left-over.bin").touch()

    save_trained_student(trained_student(config), load_renderer(config, "student_model").tokenizer, tmp_path, config)

    assert not (tmp_path / "final_model" / "left-over.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["final_model"]


def test_lora_trains_adapters_alone(tiny_config: MakeConfig) -> None:
    config = tiny_config(tuning="lora")
    student = load_student_for_training(config.student_model, config)

    trained = [name for name, weight in student.named_parameters() if weight.requires_grad]

    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_a_quantised_teacher_stays_close(tiny_config: MakeConfig, quantization: Any) -> None:
    config = tiny_config()
    plain = load_model(config.teacher_model, config)
    quantised = load_model(config.teacher_model, config, quantization=quantization)

    assert weight_bytes(quantised) < weight_bytes(plain)
    assert count_parameters(quantised) == count_parameters(plain)
    cosine = torch.cosine_similarity(logits_of(quantised).flatten(), logits_of(plain).flatten(), dim=0)
    assert cosine > 0.95


@pytest.mark.parametrize(("field", "fix"), [("teacher_model", "HF_TOKEN"), ("student_model", "HF_TOKEN")])
def test_a_model_that_is_not_there(tiny_config: MakeConfig, field: str, fix: str) -> None:
    config = tiny_config(**{field: "/nowhere/model"})

    with pytest.raises(UserError, match=rf"{field}='/nowhere/model'.*{fix}"):
        load_model("/nowhere/model", config)


def test_a_folder_without_a_model(tiny_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(str(tmp_path), tiny_config(student_model=str(tmp_path)))


def test_pickled_weights_are_not_loaded(tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((tiny_model_dir / "student" / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(UserError, match="safetensors"):
        load_model(str(tmp_path), tiny_config(student_model=str(tmp_path)))


def test_lora_on_the_output_head_is_refused(tiny_config: MakeConfig) -> None:
    config = tiny_config(lora_target_modules="q_proj,lm_head")

    with pytest.raises(UserError, match="lm_head"):
        load_student_for_training(config.student_model, config)


def test_lora_on_modules_that_do_not_exist(tiny_config: MakeConfig) -> None:
    config = tiny_config(lora_target_modules="no_such_module")

    with pytest.raises(UserError, match="no_such_module"):
        load_student_for_training(config.student_model, config)


SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def test_known_ways_from_hidden_states_to_logits(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    capped = Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=30.0))
    scaled = GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0))

    assert logit_transform(load_model(config.student_model, config)) == IDENTITY
    assert logit_transform(capped) == LogitTransform(scale=1.0, cap=30.0)
    assert logit_transform(scaled) == LogitTransform(scale=1 / 8)


@pytest.mark.parametrize(
    "change", [lambda logits: logits / 2, lambda logits: 50 * torch.tanh(logits / 50)], ids=["scale", "cap"]
)
def test_an_unknown_way_from_hidden_states_to_logits_is_refused(
    tiny_config: MakeConfig, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    config = tiny_config()
    model = load_model(config.student_model, config)
    original = model.forward
    assert original(input_ids=torch.arange(8)[None]).logits.abs().max() < 12  # a cap of 50 hardly changes these

    def changed(**kwargs: Any) -> Any:
        output = original(**kwargs)
        output.logits = change(output.logits)
        return output

    model.forward = changed

    with pytest.raises(UserError, match="Qwen3ForCausalLM"):
        logit_transform(model)


def test_a_scale_of_unknown_meaning_is_refused_by_name_although_the_model_does_not_use_it(
    tiny_config: MakeConfig,
) -> None:
    config = tiny_config()
    model = load_model(config.student_model, config)
    model.config.logits_mup_width_multiplier = 4.0

    with pytest.raises(UserError, match=r"logits_mup_width_multiplier=4\.0 of a qwen3 model"):
        logit_transform(model)


def test_cuda_that_is_not_there_is_an_error(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert pick_device(tiny_config(device="auto")).type == "cpu"
    with pytest.raises(UserError, match="device='cuda'"):
        pick_device(tiny_config(device="cuda"))


def test_peak_memory_of_a_process_is_in_bytes() -> None:
    assert 10 << 20 < peak_memory_bytes(torch.device("cpu")) < 1 << 40


def test_the_head_gets_the_last_tokens_of_a_batch_in_one_piece(tiny_config: MakeConfig) -> None:
    """A strided slice makes torch copy the whole head once for each prompt."""
    config = tiny_config()
    model: Any = load_model(config.teacher_model, config)
    seen: list[bool] = []
    model.get_output_embeddings().register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0].is_contiguous()))
    model.generate(input_ids=TOKENS.repeat(3, 1), attention_mask=torch.ones(3, 5), max_new_tokens=2, min_new_tokens=2)
    assert seen == [True, True]


def test_a_model_whose_files_lack_a_weight_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_dir / "student", tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    config = ExperimentConfig(student_model=str(tmp_path / "model"), dtype="float32", device="cpu")
    with pytest.raises(UserError, match=r"the weight model.layers.1.mlp.up_proj.weight is not in its files"):
        load_model(config.student_model, config)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_cut_file_of_a_model_is_an_error_of_one_line(tiny_model_dir: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(tiny_model_dir / "student", tmp_path / "model")
    data = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(data[: len(data) // 2])
    config = ExperimentConfig(student_model=str(tmp_path / "model"), dtype="float32", device="cpu")
    with pytest.raises(UserError, match=r"^student_model=[^\n]*copy or download the model again$"):
        load_model(config.student_model, config)


@pytest.mark.parametrize(
    ("gpus", "teacher_gpus", "card_bytes", "spread"),
    [(2, 2, 1 << 40, True), (2, 0, 1 << 40, False), (2, 0, 1, True), (1, 2, 1, False)],
)
def test_layers_are_spread_over_the_gpus_that_a_process_sees_where_asked_or_needed(
    gpus: int,
    teacher_gpus: int,
    card_bytes: int,
    spread: bool,
    tiny_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, gpu = tiny_config(teacher_gpus=teacher_gpus), torch.device("cuda", 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(total_memory=card_bytes))
    assert load._device_map(config.teacher_model, config, gpu) == ("auto" if spread else {"": gpu})
    monkeypatch.setenv("WORLD_SIZE", "2")  # a rank has one GPU
    assert load._device_map(config.teacher_model, config, gpu) == {"": gpu}
