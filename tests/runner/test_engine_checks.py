"""Checks of engine and quantisation before a model is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import MambaConfig

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.engines import table
from l2s.generation.engines.table import choose_engine
from l2s.models.stored import attention_heads, gpus_to_hold
from l2s.runner.engine_checks import check_engine, check_quantization
from l2s.runner.freshness import settings_of
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models, check_settings
from l2s.runner.selection import select_stages, settle

Make = Callable[..., ExperimentConfig]
REMOTE = {"engine": "endpoint", "teacher_endpoint": "http://localhost:1/v1"}


def stages(config: ExperimentConfig) -> list[Any]:
    return select_stages(config.model_copy(update={"run_all": True}))


@pytest.fixture
def with_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: object())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("l2s.errors.find_spec", lambda name: object())


def test_auto_is_transformers_on_a_cpu_and_says_why(tiny_config: Make) -> None:
    choice = choose_engine(tiny_config())
    assert (choice.name, choice.reason) == ("transformers", "auto: models run on the CPU")
    assert choice.version


def test_auto_is_transformers_where_vllm_is_missing(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert choose_engine(tiny_config(device="auto")).reason == "auto: vLLM is not installed"


@pytest.mark.usefixtures("with_vllm")
def test_auto_is_vllm_on_cuda_where_installed(tiny_config: Make) -> None:
    assert choose_engine(tiny_config(device="auto")).name == "vllm"
    assert choose_engine(tiny_config(device="cpu")).name == "transformers"
    assert choose_engine(tiny_config(device="auto", teacher_quantization="int8")).name == "transformers"
    assert choose_engine(tiny_config(device="auto", engine="transformers")).reason == "--engine transformers"


@pytest.mark.usefixtures("with_vllm")
def test_an_endpoint_leaves_the_rest_to_the_engine_of_weights(tiny_config: Make) -> None:
    config = tiny_config(device="auto", engine="endpoint", teacher_endpoint="http://localhost:1/v1")
    assert choose_engine(config).name == "endpoint"
    assert choose_engine(config, weights=True).name == "vllm"
    settled = settle(config)
    assert (settled.engine, settled.weights_engine) == ("endpoint", "vllm")
    assert "weights_engine" not in settled.model_fields_set  # the user did not ask for it
    chosen = choose_engine(config.model_copy(update={"weights_engine": "transformers"}), weights=True)
    assert (chosen.name, chosen.reason) == ("transformers", "--weights_engine transformers")
    for stage in ("score", "evaluate_student_kd"):
        assert "weights_engine" in settings_of(STAGES[stage], settled)
        assert "weights_engine" not in settings_of(STAGES[stage], tiny_config())


def test_an_engine_that_is_missing_is_named_with_its_extra(tiny_config: Make) -> None:
    pytest.importorskip("torch")
    if find_spec("vllm") is None:
        with pytest.raises(UserError, match=r"engine='vllm' needs vllm.*\[vllm\]"):
            check_engine(tiny_config(engine="vllm"), [])


@pytest.mark.usefixtures("with_vllm")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"engine": "vllm", "teacher_quantization": "nf4"}, "made by bitsandbytes.*fp8"),
        ({"engine": "transformers", "teacher_quantization": "fp8"}, "needs vLLM.*--engine vllm"),
        ({"engine": "transformers", "teacher_quantization": "awq"}, "needs vLLM"),
        ({"engine": "vllm", "teacher_quantization": "fp8", "teacher_signal": "online"}, "stage kd holds the teacher"),
        ({"engine": "vllm", "teacher_quantization": "gptq", "arms": "opd"}, "stage opd holds the teacher"),
        ({"engine": "vllm", "teacher_quantization": "fp8", "device": "cpu"}, "needs a CUDA device"),
        ({"engine": "endpoint"}, "teacher_endpoint=''"),
        ({"teacher_endpoint": "http://localhost:1/v1"}, "used by --engine endpoint alone"),
        ({"weights_engine": "vllm"}, "weights_engine='vllm': used by --engine endpoint alone"),
        (REMOTE | {"weights_engine": "vllm", "teacher_quantization": "nf4"}, "or --weights_engine transformers"),
        (REMOTE | {"weights_engine": "transformers", "teacher_quantization": "fp8"}, "use --weights_engine vllm"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tiny_config: Make, fields: dict[str, Any], said: str) -> None:
    config = tiny_config(**({"device": "auto"} | fields))
    with pytest.raises(UserError, match=said):
        check_engine(config, stages(config))


@pytest.mark.usefixtures("with_vllm")
@pytest.mark.parametrize("fields", [{"teacher_quantization": "fp8"}, {"teacher_quantization": "none"}])
def test_settings_that_fit_pass(tiny_config: Make, fields: dict[str, Any]) -> None:
    config = tiny_config(device="auto", engine="vllm", **fields)
    check_engine(config, stages(config))


def model_folder(folder: Path, tiny: Path, **changes: Any) -> str:
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_bitsandbytes_on_a_mixture_of_experts_is_refused(
    tiny_config: Make, tiny_model_dir: Path, tmp_path: Path, kind: str
) -> None:
    mixture = model_folder(tmp_path / "m", tiny_model_dir / "teacher", model_type="qwen3_moe", num_experts=8)
    with pytest.raises(UserError, match=r"mixture of 8 experts.*bfloat16.*fp8 with --engine vllm"):
        check_quantization(tiny_config(teacher_model=mixture, teacher_quantization=kind))
    check_quantization(tiny_config(teacher_quantization=kind))  # a dense model is fine


def test_awq_and_gptq_are_properties_of_a_checkpoint(tiny_config: Make, tiny_model_dir: Path, tmp_path: Path) -> None:
    made = {"quant_method": "awq", "bits": 4, "group_size": 128}
    awq = model_folder(tmp_path / "awq", tiny_model_dir / "teacher", quantization_config=made)
    check_quantization(tiny_config(teacher_model=awq, teacher_quantization="awq"))
    with pytest.raises(UserError, match="is quantised by awq; name a checkpoint made by gptq"):
        check_quantization(tiny_config(teacher_model=awq, teacher_quantization="gptq"))
    with pytest.raises(UserError, match="is quantised by awq already"):
        check_quantization(tiny_config(teacher_model=awq, teacher_quantization="fp8"))
    with pytest.raises(UserError, match="holds plain weights; name a checkpoint made by awq"):
        check_quantization(tiny_config(teacher_quantization="awq"))


def test_a_split_that_the_heads_do_not_allow_is_refused(tiny_config: Make) -> None:
    with pytest.raises(UserError, match=r"teacher_gpus=3.*4 attention heads.*divisor of 4"):
        check_quantization(tiny_config(teacher_gpus=3))


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_teacher_without_attention_heads_passes_with_any_split(tiny_config: Make, tmp_path: Path, gpus: int) -> None:
    MambaConfig(vocab_size=304, hidden_size=32, num_hidden_layers=1).save_pretrained(tmp_path / "mamba")
    config = tiny_config(teacher_model=str(tmp_path / "mamba"), teacher_gpus=gpus)
    check_quantization(config)
    assert attention_heads(config.teacher_model, config) == 0
    assert gpus_to_hold(57 << 30, 0, 32 << 30, 8) == 4


def test_a_teacher_without_weights_is_fine_for_answers_alone(tiny_config: Make) -> None:
    remote = {"engine": "endpoint", "teacher_endpoint": "http://localhost:1/v1", "teacher_model": "vendor/large"}
    config = tiny_config(arms="sft", **remote)
    needed = stages(config)
    check_settings(config, needed)
    check_models(config, needed)
    assert [path for path in STAGES["evaluate_teacher"].gives(*run_of(config)) if "signals" in str(path)] == []


def test_kd_needs_the_weights_of_a_teacher_behind_an_endpoint(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = {"engine": "endpoint", "teacher_endpoint": "http://localhost:1/v1", "teacher_model": "vendor/large"}
    config = tiny_config(arms="sft,kd", **remote)
    with pytest.raises(UserError, match=r"KD needs the teacher's weights for scoring.*--arms sft"):
        check_models(config, stages(config))


def run_of(config: ExperimentConfig) -> tuple[Any, ExperimentConfig]:
    from l2s.run_dir import RunDir

    return RunDir.of(config), config


@pytest.mark.parametrize(
    ("gib", "heads", "card", "cards", "expected"),
    [
        (57, 32, 40, 8, 2),  # Qwen3-30B-A3B in bfloat16
        (57, 32, 80, 8, 1),
        (29, 32, 40, 8, 1),  # in fp8
        (57, 32, 24, 8, 4),
        (57, 32, 24, 2, None),
        (15, 28, 16, 8, 2),
        (57, 28, 16, 8, None),  # 8 GPUs cannot share 28 heads
    ],
)
def test_a_teacher_takes_the_fewest_gpus_that_hold_it(
    gib: int, heads: int, card: int, cards: int, expected: int | None
) -> None:
    assert gpus_to_hold(gib << 30, heads, card << 30, cards) == expected
