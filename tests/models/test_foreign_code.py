"""Python code and pickles in model folders and checkpoints: nothing of it runs unless a flag says so."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from peft import PeftModel
from rich.console import Console

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.evaluation import lm_eval
from l2s.models.load import load_model, load_student_for_training
from l2s.report.text.console import print_summary
from l2s.report.text.strings import Lang
from l2s.runner.pipeline import STAGES
from l2s.runner.preflight import check_models, check_settings
from support.payload import Payload
from support.reports import written_reports
from support.synthetic_run import make_run

Make = Callable[..., ExperimentConfig]
TRAINS = [STAGES["sft"], STAGES["kd"]]
CODE = """
import pathlib
pathlib.Path(MARK).touch()
from transformers import PretrainedConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
class OwnConfig(Qwen3Config): model_type = "own_kind"
class OwnModel(Qwen3ForCausalLM): config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast): pass
"""


def with_code(source: Path, folder: Path, mark: Path, *, tokenizer: bool = False) -> str:
    """A copy of a model that needs the Python code beside it."""
    shutil.copytree(source, folder)
    (folder / "own_code.py").write_text(CODE.replace("MARK", repr(str(mark))))
    name = "tokenizer_config.json" if tokenizer else "config.json"
    settings = json.loads((folder / name).read_text())
    if tokenizer:
        settings |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own_code.OwnTokenizer"]}}
    else:
        code = {"AutoConfig": "own_code.OwnConfig", "AutoModelForCausalLM": "own_code.OwnModel"}
        settings |= {"model_type": "own_kind", "architectures": ["OwnModel"], "auto_map": code}
    (folder / name).write_text(json.dumps(settings))
    return str(folder)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_model_with_code_is_refused_before_any_weights_are_loaded(
    tiny_config: Make, tiny_model_dir: Path, tmp_path: Path, role: str
) -> None:
    mark = tmp_path / "ran"
    model = with_code(tiny_model_dir / role, tmp_path / "model", mark)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{role}_model='.*needs Python code.*--trust_remote_code") as caught:
        check_models(tiny_config(**{f"{role}_model": model}), TRAINS)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_code_of_a_tokenizer_does_not_run(tiny_config: Make, tiny_model_dir: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    model = with_code(tiny_model_dir / "student", tmp_path / "model", mark, tokenizer=True)
    check_models(tiny_config(student_model=model), TRAINS)  # its plain files are read instead
    assert not mark.exists()


def test_code_that_nothing_needs_does_not_run(tiny_config: Make, tiny_model_dir: Path, tmp_path: Path) -> None:
    """transformers knows this kind of model: its own code is taken, not that of the folder."""
    mark = tmp_path / "ran"
    model = with_code(tiny_model_dir / "student", tmp_path / "model", mark)
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "qwen3"}))
    check_models(tiny_config(student_model=model), TRAINS)
    load_model(model, tiny_config(student_model=model))
    assert not mark.exists()


def test_the_flag_lets_the_code_run(
    tiny_config: Make, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.dynamic_module_utils as modules

    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    mark = tmp_path / "ran"
    model = with_code(tiny_model_dir / "student", tmp_path / "model", mark)
    load_model(model, tiny_config(student_model=model, trust_remote_code=True))
    assert mark.exists()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_says_that_code_was_trusted(tmp_path: Path, lang: Lang) -> None:
    for trusted in (False, True):
        config, run_dir = make_run(
            tmp_path, name=f"trusted-{trusted}", sizes={"math": 4}, models=("teacher",), trust_remote_code=trusted
        )
        reports = written_reports(config, run_dir, lang)
        console = io.StringIO()
        print_summary(run_dir, Console(file=console, width=300, highlight=False, soft_wrap=True))
        for text in (*reports, console.getvalue()):
            said = [line for line in text.splitlines() if "org/Teacher-1.5B" in line and "Python" in line]
            assert len(said) == trusted
            assert not trusted or "org/Student-0.5B" in said[0]


def test_weights_in_a_pickle_are_not_read(tiny_config: Make, tiny_model_dir: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    shutil.copytree(tiny_model_dir / "student", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.bin", "flax_model.msgpack"):
        (tmp_path / "model" / name).write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UserError, match="student_model="):
        load_model(str(tmp_path / "model"), tiny_config(student_model=str(tmp_path / "model")))
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["adapter", "no JSON", "list", "folder", "pickle"])
def test_an_adapter_beside_a_model_is_refused(
    tiny_config: Make, tiny_model_dir: Path, tmp_path: Path, kind: str
) -> None:
    """transformers would add it to the weights, or follow it to another model; vLLM would not."""
    model, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_model_dir / "student", model)
    config = tiny_config(student_model=str(model))
    if kind == "folder":
        (model / "adapter_config.json").mkdir()
    elif kind in ("adapter", "pickle"):
        cast(PeftModel, load_student_for_training(str(model), config)).save_pretrained(str(model))
    else:
        (model / "adapter_config.json").write_text("[]" if kind == "list" else "nothing")
    if kind == "pickle":
        (model / "adapter_model.safetensors").unlink()
        (model / "adapter_model.bin").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UserError, match=r"student_model=.*holds adapter_config\.json"):
        check_settings(config, [STAGES["sft"]])
    with pytest.raises(UserError, match="student_model="):
        load_model(str(model), config)
    assert not mark.exists()


def test_a_task_of_the_harness_that_runs_programs_is_refused(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SimpleNamespace(UNSAFE_CODE=True, task_name="humaneval")
    manager = SimpleNamespace(match_tasks=list, all_tasks=[], load=lambda names: {"tasks": dict.fromkeys(names, task)})
    monkeypatch.setattr(lm_eval, "_task_manager", lambda config: manager)
    with pytest.raises(UserError, match="humaneval runs model-written code without a sandbox; leave it out"):
        lm_eval.load_tasks(tiny_config(lm_eval_tasks="humaneval"))


def test_a_payload_runs_where_nothing_stops_it(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_torch_is_asked_for_weights_only(tmp_path: Path) -> None:
    torch.save(Payload(tmp_path / "ran"), tmp_path / "optimizer.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert not (tmp_path / "ran").exists()
