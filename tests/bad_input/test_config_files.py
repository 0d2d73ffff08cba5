"""YAML files that hold no configuration, and those that do although they look odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from l2s.config import ExperimentConfig, resolve_config
from l2s.config.settings import LISTS
from support.refusals import Refusals, missing

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])

TABLE: list[tuple[str | bytes, tuple[str, ...]]] = [
    # not a configuration
    ("", ("holds nothing", "write `field: value` lines")),
    ("# only a comment\n", ("holds nothing", "write `field: value` lines")),
    ("null", ("holds nothing", "write `field: value` lines")),
    ("alpha", ("holds text", "write `field: value` lines")),
    ("alpha 0.5", ("holds text", "write `field: value` lines")),
    ("3", ("holds a number", "write `field: value` lines")),
    ("- alpha: 0.5\n- seed: 1\n", ("holds a list", "write `field: value` lines")),
    ("alpha: 0.5\n---\nseed: 1\n", ("cannot be read as YAML", "single document", "give a file")),
    ("alpha: [0.5\n", ("cannot be read as YAML", "line", "give a file")),
    ("alpha:\t0.5\n\tseed: 1\n", ("cannot be read as YAML", "'\\t'", "give a file")),
    ("\talpha: 0.5\n", ("cannot be read as YAML", "'\\t'", "line 1")),
    ("alpha: 0.5\n  seed: 1\n", ("cannot be read as YAML", "line 2")),
    ("alpha: 'half\n", ("cannot be read as YAML", "line")),
    ("alpha: *half\n", ("cannot be read as YAML", "undefined alias")),
    ("alpha: !!python/object/apply:os.getcwd []\n", ("cannot be read as YAML", "python/object")),
    ("alpha: !half 1\n", ("cannot be read as YAML", "!half")),
    ("{" * 100_000, ("cannot be read as YAML",)),
    ("alpha: " + "[" * 5_000 + "]" * 5_000, ("cannot be read as YAML",)),
    ("x: " + "y" * 2_000_000, ("has more than 1,000,000 bytes", "`field: value`")),
    ('{"alpha": 0.5, "seed": }', ("seed=None", "must be a valid integer")),
    ('{"alpha": 0.5, "seed": 1', ("cannot be read as YAML", "line 1")),
    # encodings
    ("system_prompt: Übersicht".encode("latin-1"), ("not UTF-8", "line 1", "save the file as UTF-8")),
    (b"seed: 1\nalpha: \xff", ("not UTF-8", "line 2", "save the file as UTF-8")),
    ("alpha: 0.5".encode("utf-16"), ("UTF-16", "convert")),
    ("alpha: 0.5".encode("utf-16-le"), ("cannot be read as YAML", "#x0000")),
    ("alpha: 0.5".encode("utf-32"), ("UTF-32", "convert")),
    (b"alpha: 0.5\x00", ("cannot be read as YAML", "#x0000")),
    (b"alpha: 0.5 \x1b[31m", ("cannot be read as YAML", "#x001b")),
    ("seed: 1\n\ufeffalpha: 0.5", ("\\ufeffalpha", "': no such setting", "did you mean alpha?")),
    ('system_prompt: "a\\uD800b"', ("system_prompt='a\\ud800b'", "must not hold", "remove")),
    # keys
    ("alpa: 0.5", ("alpa: no such setting; did you mean alpha?",)),
    ("Alpha: 0.5", ("Alpha: no such setting; did you mean alpha?",)),
    ("--alpha: 0.5", ("--alpha: no such setting; did you mean alpha?",)),
    ("sft-lr: 0.5", ("sft-lr: no such setting; did you mean sft_lr?",)),
    ("optimiser: {rate: 1}", ("optimiser: no such setting", "`l2s run --help` lists all")),
    ("1: 2", ("1 is not the name of a setting",)),
    ("yes: 2", ("True is not the name of a setting",)),
    ("null: 2", ("None is not the name of a setting",)),
    ("? [a, b]\n: 2", ("cannot be read as YAML", "unhashable")),
    ("'': 2", (": no such setting",)),
    ("? " + "k" * 5000 + "\n: 2", ("kkk", "no such setting")),
    ("alpha: 0.5\nseed: 1\nalpha: 0.7\n", ("alpha", "twice", "line 3", "leave one out")),
    ("{alpha: 0.5, alpha: 0.5}", ("alpha", "twice", "leave one out")),
    # values
    ("alpha:", ("alpha=None", "must be a valid number")),
    ("alpha: [0.5]", ("alpha=[0.5]", "must be a valid number")),
    ("alpha: {value: 0.5}", ("alpha={'value': 0.5}", "must be a valid number")),
    ("alpha: .nan", ("alpha=nan", "must be a finite number")),
    ("weight_decay: .inf", ("weight_decay=inf", "must be a finite number")),
    ("max_grad_norm: .inf", ("max_grad_norm=inf", "must be a finite number")),
    ("endpoint_timeout_s: .inf", ("endpoint_timeout_s=inf", "must be a finite number")),
    ("alpha: true", ("alpha=True", "must be a number, not true or false")),
    ("seed: true", ("seed=True", "must be a number, not true or false")),
    ("sft_epochs: yes", ("sft_epochs=True", "must be a number, not true or false")),
    ("topk: off", ("topk=False", "must be a number, not true or false")),
    ("sft_epochs: 1.5", ("sft_epochs=1.5", "must be a valid integer")),
    ("sft_epochs: '1.5'", ("sft_epochs='1.5'", "must be a valid integer")),
    ("seed: 0x" + "f" * 10_000, ("seed=", "must be")),
    ("seed: 010", ("cannot be read as YAML", "'010' would be a number of base 8 or 60", "line 1")),
    ("seed: 1:30", ("cannot be read as YAML", "'1:30' would be a number of base 8 or 60")),
    ("seed: -1_0:59:59", ("cannot be read as YAML", "base 8 or 60")),
    ("seed: !!int abc", ("cannot be read as YAML", "invalid literal")),
    ("run_all: !!bool maybe", ("cannot be read as YAML", "not of the type that its tag says")),
    ("seed: !!timestamp noon", ("cannot be read as YAML", "not of the type that its tag says")),
    ("seed: !!binary a", ("cannot be read as YAML", "line 1")),
    ("seed: !!omap 3", ("cannot be read as YAML", "line 1")),
    ("seed: -1", ("seed=-1", "greater than or equal to 0")),
    ("seed: 4294967296", ("seed=4294967296", "less than 4294967296")),
    ("run_sft: 2", ("run_sft=2", "must be a valid boolean")),
    ("run_sft: [true]", ("run_sft=[True]", "must be a valid boolean")),
    ("keep_correct: ja", ("keep_correct='ja'", "must be a valid boolean")),
    ("experiment_name: 2026", ("experiment_name=2026", "must be text", "quotes")),
    ("experiment_name: 2026-01-01", ("experiment_name=", "must be text", "quotes")),
    ("experiment_name: no", ("experiment_name=False", "must be text", "quotes")),
    ("experiment_name: 1.10", ("experiment_name=1.1", "must be text", "quotes")),
    ("teacher_model: 7", ("teacher_model=7", "must be text", "quotes")),
    ("teacher_model: [a]", ("teacher_model=['a']", "must be text")),
    ("teacher_model:", ("teacher_model=None", "must be text")),
    ("lang: no", ("lang=False", "must be 'en' or 'zh'")),
    ("lang: [en]", ("lang=['en']", "must be 'en' or 'zh'")),
    ("tuning: LoRA", ("tuning='LoRA'", "'qlora', 'lora' or 'full'")),
    ("divergence: kl", ("divergence='kl'", "must be one of forward_kl")),
    ("divergence: [forward_kl]", ("divergence=['forward_kl']", "must be text")),
    ("thinking: maybe", ("thinking='maybe'", "'off' or 'on'")),
    ("output_dir: 5", ("output_dir=5", "path")),
    ("output_dir: [a]", ("output_dir=['a']", "path")),
    ("output_dir:", ("output_dir=None", "path")),
    ('output_dir: "~\\0"', ("output_dir='~\\x00'", "must not hold NUL")),
    ('prompt_date: "2026-01-01\\0"', ("prompt_date='2026-01-01\\x00'", "must not hold NUL")),
    ("prompt_date: 0", ("prompt_date=0", "2026-01-31")),
    ("prompt_date: 20260101", ("prompt_date=20260101", "2026-01-31")),
    ("prompt_date: true", ("prompt_date=True", "2026-01-31")),
    ("prompt_date: [2026, 1, 1]", ("prompt_date=[2026, 1, 1]", "2026-01-31")),
    ("prompt_date: 2026-01-01 10:00:00", ("prompt_date=", "2026-01-31")),
    ("prompt_date: 2026-13-01", ("cannot be read as YAML", "month must be in 1..12")),
    ("seeds: [1, 1]", ("seeds=[1, 1]", "names 1 twice")),
    ("seeds: [1, true]", ("seeds=[1, True]", "must be")),
    ("seeds: [1, [2]]", ("seeds=[1, [2]]", "must be")),
    ("seeds: 1.5", ("seeds=1.5", "must be")),
    ("seeds: {a: 1}", ("seeds={'a': 1}", "must be")),
    ("arms: [sft, dpo]", ("arms=['sft', 'dpo']", "one or more of")),
    ("arms: [sft, 1]", ("arms=", "one or more of")),
    ("arms: []", ("arms=", "one or more of")),
    ("gpus: [0, x]", ("gpus=", "give all, or numbers")),
    ("gpus: -1", ("gpus=", "give all, or numbers")),
    ("teacher_context: [reference]", ("teacher_context=['reference']", "must be text")),
    ("own_grader:", ("own_grader=None", "must be text")),
    ("alpha: 1.5", ("alpha=1.5", "less than or equal to 1")),
    ("topk: '\u202e46'", ("topk='\\u202e46'", "must be a valid integer")),
    (BOMB, ("a0: no such setting",)),
    (BOMB + "\nalpha: *a29", ("alpha=[[", "must be a valid number")),
    ("alpha: &a [*a]", ("alpha=[", "must be a valid number")),
    ("run_sft: &a {x: *a}", ("run_sft={", "must be a valid boolean")),
]


@pytest.mark.parametrize(("content", "words"), TABLE, ids=[ascii(content)[:40] for content, _ in TABLE])
def test_a_file_that_cannot_be_meant_is_refused_in_one_line(
    refuse: Refusals, content: str | bytes, words: tuple[str, ...]
) -> None:
    Path("a.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refuse.line("run", "--run_all", "--config", "a.yaml")
    assert missing(("--config a.yaml", *words), line) == [], line


class Loud(list[str]):
    """A value that must not be made text: of nested anchors that would take minutes, or all memory."""

    def __str__(self) -> str:
        raise AssertionError("it was written out")

    __repr__ = __str__


@pytest.mark.parametrize("name", ExperimentConfig.model_fields)
def test_no_field_writes_out_a_value_of_another_type(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig(**{name: Loud(["x"]) if name not in LISTS else Loud([["x"]])})  # type: ignore[list-item]
    assert caught.value.errors(include_input=False)[0]["loc"] == (name,)


def test_a_config_file_is_named_in_one_line(refuse: Refusals) -> None:
    assert "--config 'a\\nb\\x1b[2J': cannot be read" in refuse.line("run", "--config", "a\nb\x1b[2J")
    assert "cannot be read" in refuse.line("run", "--config", "x/" * 3000)
    Path("c\nd").write_text("alpha: 2")
    assert "--config 'c\\nd': alpha=2" in refuse.line("run", "--config", "c\nd")


def test_a_bomb_of_anchors_in_a_value_is_shown_short(refuse: Refusals) -> None:
    levels = ", ".join(["&b0 [x, x]", *(f"&b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 30))])
    Path("a.yaml").write_text(f"alpha: [{levels}]\n")
    assert "alpha=[[" in refuse.line("run", "--run_all", "--config", "a.yaml")  # its whole text would take all memory


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfalpha: 0.25\r\nseed: 7\r\n", {"alpha": 0.25, "seed": 7}),
        (b'{"alpha": 0.25, "seed": 7}', {"alpha": 0.25, "seed": 7}),
        (b"alpha: '0.25'\nseed: '7'\nrun_all: 'true'", {"alpha": 0.25, "seed": 7, "run_all": True}),
        (b"sft_lr: 2e-4\nkd_lr: 1.5e-4", {"sft_lr": 2e-4, "kd_lr": 1.5e-4}),  # YAML 1.1 reads the first as text
        (b"sft_epochs: 2.0", {"sft_epochs": 2}),
        (b"seed: 0x10\nheldout_answers: 0", {"seed": 16, "heldout_answers": 0}),
        (b"run_all: 1\nrun_sft: on", {"run_all": True, "run_sft": True}),
        (b"gpus: 0", {"gpus": "0"}),
        (b"gpus: [0, 1]", {"gpus": "0,1"}),
        (b"arms: [kd, sft]", {"arms": "sft,kd"}),
        (b"seeds: [1, 2]", {"seeds": "1,2"}),
        (b"seeds: 3", {"seeds": "3"}),
        (b"domains: [math, aiops]", {"domains": "math,aiops"}),
        (b"lora_target_modules: [q_proj, v_proj]", {"lora_target_modules": "q_proj,v_proj"}),
        (b"thinking: off", {"thinking": "off"}),
        (b"data_dir: null", {"data_dir": None}),
        (b"warmup_ratio: &same 0.25\nalpha: *same", {"alpha": 0.25, "warmup_ratio": 0.25}),
        ("system_prompt: '\u200fأجب\u200e 简短'".encode(), {"system_prompt": "\u200fأجب\u200e 简短"}),
        (b"experiment_name: '2026'", {"experiment_name": "2026"}),
    ],
)  # fmt: skip
def test_a_file_that_only_looks_odd_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: dict[str, Any]
) -> None:
    monkeypatch.delenv("L2S_DATA", raising=False)
    (tmp_path / "a.yaml").write_bytes(content)
    config = resolve_config({}, file=tmp_path / "a.yaml")
    assert {name: getattr(config, name) for name in expected} == expected
