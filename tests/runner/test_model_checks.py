"""What preflight finds out about a model before its weights are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    BloomConfig,
    FalconH1Config,
    Llama4TextConfig,
    Mamba2Config,
    MambaConfig,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.answers import check_prompts_fit
from l2s.models.load import load_model, load_student_for_training
from l2s.models.save import save_trained_student
from l2s.models.stored import context_window
from l2s.plan.model_size import size_of
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models
from l2s.tasks.types import Item

MakeConfig = Callable[..., ExperimentConfig]
TRAINS = [STAGES["sft"], STAGES["kd"]]
TOKENS = torch.tensor([[258, 7, 42, 99, 3]])


def changed(folder: Path, source: Path, **fields: Any) -> str:
    """A copy of a model folder with other fields in its config.json."""
    shutil.copytree(source, folder)
    settings = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(settings))
    return str(folder)


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=TOKENS).logits
    return found


@pytest.fixture(scope="module")
def nf4_student(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nf4")
    in_4_bits: Any = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    source = tiny_model_dir / "student"
    model: Any = AutoModelForCausalLM.from_pretrained(source, quantization_config=in_4_bits, device_map={"": "cpu"})
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


def test_a_student_in_nf4_trains_with_qlora_and_is_merged_by_dequantising(
    tiny_config: MakeConfig, nf4_student: str, tmp_path: Path
) -> None:
    config = tiny_config(student_model=nf4_student, tuning="qlora")
    check_models(config, TRAINS)
    student = load_student_for_training(nf4_student, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in student.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    expected = logits_of(student)

    save_trained_student(student, AutoTokenizer.from_pretrained(nf4_student), tmp_path, config)

    assert "quantization_config" not in json.loads((tmp_path / "final_model" / "config.json").read_text())
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "final_model")
    torch.testing.assert_close(logits_of(saved), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_student_in_nf4_is_refused_for_other_tunings(tiny_config: MakeConfig, nf4_student: str, tuning: str) -> None:
    with pytest.raises(UserError, match=f"tuning='{tuning}'.*--tuning qlora"):
        check_models(tiny_config(student_model=nf4_student, tuning=tuning), TRAINS)


def fp8_checkpoint(folder: Path, source: Path) -> str:
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic", "fmt": "e4m3"}
    name = changed(folder, source, quantization_config=settings)
    stored = {}
    for key, weight in load_file(source / "model.safetensors").items():
        stored[key] = weight
        if weight.dim() == 2 and "embed" not in key and "lm_head" not in key:
            scale = weight.abs().max() / 448
            stored |= {key: (weight / scale).to(torch.float8_e4m3fn), f"{key}_scale_inv": scale.reshape(1, 1)}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return name


def test_a_teacher_in_fp8_loads_with_its_own_quantisation(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    config = tiny_config(teacher_model=fp8_checkpoint(tmp_path / "fp8", tiny_model_dir / "teacher"))
    check_models(config, [STAGES["generate"], STAGES["score"]])
    found = logits_of(load_model(config.teacher_model, config)).flatten()
    plain = logits_of(load_model(str(tiny_model_dir / "teacher"), config)).flatten()
    assert torch.cosine_similarity(found, plain, dim=0) > 0.95
    with pytest.raises(UserError, match=r"student_model.*\(fp8\) and cannot be trained"):
        check_models(config.model_copy(update={"student_model": config.teacher_model}), TRAINS)


def test_a_teacher_in_nf4_loads_with_its_own_quantisation(tiny_config: MakeConfig, nf4_student: str) -> None:
    config = tiny_config(teacher_model=nf4_student)
    check_models(config, [STAGES["generate"]])
    assert load_model(nf4_student, config).is_quantized
    with pytest.raises(UserError, match=r"teacher_quantization='nf4'.*already"):
        check_models(config.model_copy(update={"teacher_quantization": "nf4"}), [STAGES["generate"]])


@pytest.mark.parametrize(
    ("method", "package"), [("gptq", "optimum"), ("awq", "gptqmodel"), ("compressed-tensors", "compressed-tensors")]
)
def test_a_format_whose_reader_is_missing_is_refused_by_the_package(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path, method: str, package: str
) -> None:
    settings = {"quant_method": method, "bits": 4, "group_size": 128}
    name = changed(tmp_path / "model", tiny_model_dir / "teacher", quantization_config=settings)
    with pytest.raises(UserError, match=rf"teacher_model=.*{method}.*{package}"):
        check_models(tiny_config(teacher_model=name, engine="transformers"), [STAGES["generate"]])


def test_a_padding_token_above_the_embeddings_is_refused(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name = changed(tmp_path / "model", tiny_model_dir / "student")
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(45)])
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(name)
    config = tiny_config(student_model=name)
    with pytest.raises(UserError, match=r"student_model=.*304 rows.*'\[PAD\]' with id 304"):
        check_models(config, [STAGES["sft"]])


def test_added_tokens_above_the_embeddings_that_no_text_holds_are_no_fault(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name = changed(tmp_path / "model", tiny_model_dir / "student")
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(50)])
    tokenizer.save_pretrained(name)
    config = tiny_config(student_model=name)
    check_models(config, [STAGES["sft"]])
    with pytest.raises(UserError, match=r"'<extra_49>' has id 308"):
        load_renderer(config, "student_model").prompt_ids([{"role": "user", "content": "<extra_49>"}])


def test_a_context_window_shorter_than_max_length_is_refused(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name = changed(tmp_path / "model", tiny_model_dir / "student", max_position_embeddings=256)
    with pytest.raises(UserError, match=r"max_length=512: student_model=.*256 tokens.*--max_length 256"):
        check_models(tiny_config(student_model=name), [STAGES["sft"]])
    check_models(tiny_config(student_model=name, max_length=256), [STAGES["sft"]])


def test_prompts_that_leave_no_room_for_an_answer_are_refused(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name = changed(tmp_path / "model", tiny_model_dir / "student", max_position_embeddings=100)
    config = tiny_config(student_model=name)
    items = [
        Item(
            id=str(n), domain="math", source="", messages=[{"role": "user", "content": "?" * n}], reference="", meta={}
        )
        for n in (1, 99)
    ]
    with pytest.raises(UserError, match=r"max_new_tokens=16: 1 of 2 prompts .*longest prompt, of item '99', has"):
        check_prompts_fit(items, load_renderer(config, "student_model"), name, config)
    check_prompts_fit(items[:1], load_renderer(config, "student_model"), name, config)


def test_stretched_positions_count() -> None:
    yarn: Any = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    for stated in (32_768, 131_072):
        assert context_window(Qwen3Config(max_position_embeddings=stated, rope_parameters=yarn)) == 131_072
    assert context_window(Qwen3Config(max_position_embeddings=4096)) == 4096
    assert context_window(BloomConfig()) is None  # it has no position limit


def test_a_head_with_a_bias_is_refused_before_it_is_loaded(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    AutoTokenizer.from_pretrained(tiny_model_dir / "student").save_pretrained(tmp_path)
    settings = PhiConfig(
        vocab_size=304, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512,
    )  # fmt: skip
    PhiForCausalLM(settings).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"student_model=.*PhiForCausalLM.*without bias"):
        check_models(tiny_config(student_model=str(tmp_path)), [STAGES["sft"]])


@pytest.mark.parametrize("targets", ["embed_tokens", "q_proj,model.embed_tokens"])
def test_lora_on_embeddings_that_are_the_head_too_is_refused(tiny_config: MakeConfig, targets: str) -> None:
    config = tiny_config(lora_target_modules=targets)  # the student's are tied
    with pytest.raises(UserError, match=r"lora_target_modules: leave out .*embed_tokens"):
        check_models(config, TRAINS)
    untied = tiny_config(lora_target_modules=targets, student_model=config.teacher_model)
    check_models(untied, TRAINS)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("q_proj,lm_head", "output head"),
        ("norm", "norm"),
        ("no_such_module", "no module of this model is named 'no_such_module'"),
        ("q_proj,v_porj,kv", "named 'v_porj', 'kv'; take --lora_target_modules q_proj,.*, or --tuning full$"),
        ("q_proj,proj", "named 'proj'"),  # a part of a name
        ("all-linear,embed_tokens", "all-linear stands alone; leave out"),
    ],
)
def test_lora_targets_are_checked_before_anything_runs(tiny_config: MakeConfig, targets: str, message: str) -> None:
    with pytest.raises(UserError, match=f"lora_target_modules.*{message}"):
        check_models(tiny_config(lora_target_modules=targets), TRAINS)
    check_models(tiny_config(lora_target_modules="all-linear"), TRAINS)


TWO_HEADS: dict[str, Any] = {
    "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512,
}  # fmt: skip
FALCON = FalconH1Config(
    vocab_size=304, hidden_size=32, num_hidden_layers=1, **TWO_HEADS, mamba_d_ssm=64, mamba_n_heads=8, mamba_d_head=8,
    mamba_n_groups=1, mamba_d_state=4,
)  # fmt: skip
LLAMA_4 = Llama4TextConfig(
    vocab_size=304, hidden_size=32, num_hidden_layers=1, **TWO_HEADS, intermediate_size_mlp=64, head_dim=16,
    num_local_experts=2, num_experts_per_tok=1,
)  # fmt: skip
MAMBA = MambaConfig(vocab_size=304, hidden_size=32, num_hidden_layers=1, state_size=4)
MAMBA_2 = Mamba2Config(
    vocab_size=304, hidden_size=32, num_hidden_layers=1, state_size=4, num_heads=8, head_dim=8, n_groups=1
)


@pytest.mark.parametrize(
    ("found", "module", "instead"),
    [
        (MAMBA, "'out_proj'", "in_proj"),
        (MAMBA_2, "'out_proj'", "in_proj"),
        (FALCON, "'out_proj'", "gate_proj,up_proj,down_proj,in_proj,q_proj,k_proj,v_proj,o_proj"),
        (LLAMA_4, r"model\.layers\.0\.feed_forward\.router \(Llama4Router\)", "q_proj,k_proj,v_proj,o_proj,.*"),
    ],
    ids=lambda value: value.model_type if isinstance(value, PreTrainedConfig) else "",
)
def test_a_student_with_modules_that_lora_cannot_adapt_is_refused_with_those_that_it_can(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path, found: PreTrainedConfig, module: str, instead: str
) -> None:
    """Mamba's kernels read out_proj past LoRA, and the router of Llama 4 returns two values."""
    AutoTokenizer.from_pretrained(tiny_model_dir / "student").save_pretrained(tmp_path)
    found.save_pretrained(tmp_path)
    config = tiny_config(student_model=str(tmp_path), lora_target_modules="all-linear")
    fix = rf"take --lora_target_modules ({instead}), or --tuning full$"
    with pytest.raises(UserError, match=rf"^lora_target_modules='all-linear': .*{module}.*; {fix}") as refused:
        check_models(config, TRAINS)
    offered = str(refused.value).split("--lora_target_modules ")[1].split(", ")[0]
    for changes in ({"lora_target_modules": offered}, {"tuning": "full"}):
        check_models(config.model_copy(update=changes), TRAINS)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_student_that_cannot_recompute_activations_is_refused_before_anything_runs(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tuning: str
) -> None:
    """As JetMoE, and much code that comes with models."""
    monkeypatch.setattr(Qwen3ForCausalLM, "supports_gradient_checkpointing", False)
    config = tiny_config(tuning=tuning, gradient_checkpointing=True)
    with pytest.raises(UserError, match=r"gradient_checkpointing=True: Qwen3ForCausalLM .*set --gradient_checkpoi"):
        check_models(config, TRAINS)
    check_models(config.model_copy(update={"gradient_checkpointing": False}), TRAINS)


def test_a_model_that_is_no_causal_language_model_is_refused_in_runs_and_plans(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    Qwen2_5_VLConfig(text_config=sizes | {"num_attention_heads": 2, "num_key_value_heads": 1}).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model_dir / "student").save_pretrained(tmp_path)
    config = tiny_config(teacher_model=str(tmp_path))
    words = r"^teacher_model=.*cannot be made as a causal .*Qwen2_5_VLConfig.*choose another model"
    with pytest.raises(UserError, match=words):
        check_models(config, [STAGES["score"]])
    with pytest.raises(UserError, match=words):
        size_of(config.teacher_model, config)


def test_code_of_a_model_that_fails_without_a_word_is_an_error_of_one_line(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise AttributeError

    monkeypatch.setattr(Qwen3ForCausalLM, "__init__", failing)
    with pytest.raises(UserError, match=r"^teacher_model=.*cannot be made .*\(AttributeError\)"):
        check_models(tiny_config(), TRAINS)


def test_a_template_that_always_thinks_needs_thinking_on(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name = changed(tmp_path / "model", tiny_model_dir / "teacher")
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    tokenizer.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    tokenizer.save_pretrained(name)
    with pytest.raises(UserError, match=r"thinking='off'.*opens <think>"):
        check_models(tiny_config(teacher_model=name), [STAGES["generate"]])
    check_models(tiny_config(teacher_model=name, thinking="on"), [STAGES["generate"]])


@pytest.mark.parametrize(
    "shown", ["{% for part in m.content %}{{ part.text }}{% endfor %}", "{{ m.content[0].text if false }}"]
)
def test_a_template_that_leaves_the_question_out_is_refused(
    tiny_config: MakeConfig, tiny_model_dir: Path, tmp_path: Path, shown: str
) -> None:
    """A template for content in parts drops plain text without an error."""
    name = changed(tmp_path / "model", tiny_model_dir / "teacher")
    tokenizer: Any = AutoTokenizer.from_pretrained(name)
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + shown + "<|im_end|>\n{% endfor %}"
    tokenizer.save_pretrained(name)
    with pytest.raises(UserError, match=r"teacher_model=.*leaves out the text of a user turn"):
        check_models(tiny_config(teacher_model=name), [STAGES["generate"]])


def test_a_student_declares_the_token_that_it_learned_to_end_with(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config(tuning="full")
    student, tokenizer = (
        load_student_for_training(config.student_model, config),
        load_renderer(config, "student_model").tokenizer,
    )
    save_trained_student(student, tokenizer, tmp_path, config, ends=[256])
    assert json.loads((tmp_path / "final_model" / "generation_config.json").read_text())["eos_token_id"] == [256, 258]
