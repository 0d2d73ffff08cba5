"""Wrong values on the command line: of every field by its type, and of the fields whose values have a form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from l2s.cli import _parser
from l2s.config import ExperimentConfig, choices, resolve_config
from l2s.errors import UserError
from support.refusals import Refusals, missing

WRONG: dict[type, tuple[str, ...]] = {
    bool: ("", "2", "maybe", "nan", "yes please"),
    int: ("", "many", "1.5", "nan", "inf", "1e3", "0x10", "-1", "1,2", "9" * 5000, "\u0664\u0665", "1\x00"),
    float: ("", "some", "nan", "-nan", "inf", "-inf", "1e999", "1,5", "0.5.5", "-1", "\udc80"),
}


def wrong_values() -> Iterator[tuple[str, str]]:
    """(field, value) for every field with a type of its own and every value that this type has no use for."""
    for name, info in ExperimentConfig.model_fields.items():
        kinds = set(get_args(info.annotation) or (info.annotation,))
        for kind, values in WRONG.items():
            if kind in kinds:
                yield from ((name, value) for value in values)
        if choices(info):
            yield from ((name, value) for value in ("", "nonsense", "None", choices(info)[0].upper() + " "))


@pytest.mark.parametrize("name", list(dict(wrong_values())))
def test_a_value_of_another_type_is_refused_with_field_and_value(name: str) -> None:
    values = [value for field, value in wrong_values() if field == name]
    for value in values:
        with pytest.raises(UserError) as caught:
            resolve_config({name: value})
        line = str(caught.value)
        assert line.startswith(f"{name}="), line
        assert repr(value)[1:20].rstrip("'") in line, line
        assert "must" in line, line
        assert line.isprintable()
        assert len(line) < 300


TABLE: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    # names and paths
    (("--experiment_name", ""), ("experiment_name=''", "must have")),
    (("--experiment_name", "."), ("experiment_name='.'", "letters")),
    (("--experiment_name", "a/b"), ("experiment_name='a/b'", "letters")),
    (("--experiment_name", "a b"), ("experiment_name='a b'", "letters")),
    (("--experiment_name", "实验"), ("experiment_name='实验'", "letters")),
    (("--experiment_name", "a\udcff"), ("experiment_name='a\\udcff'", "not UTF-8")),
    (("--experiment_name", "a\u202eb"), ("experiment_name='a\\u202eb'", "letters")),
    (("--experiment_name", "a\n"), ("experiment_name='a\\n'", "letters")),
    (("--experiment_name", "a..."), ("experiment_name='a...'", "end with a dot")),
    (("--experiment_name", "CON"), ("experiment_name='CON'", "Windows device")),
    (("--experiment_name", "lpt1.v2"), ("experiment_name='lpt1.v2'", "Windows device")),
    (("--experiment_name", "%00"), ("experiment_name='%00'", "letters")),
    (("--experiment_name", "a" * 101), ("experiment_name='aaa", "at most 100")),
    (("--address", "10.0.0.1:6379"), ("address='10.0.0.1:6379'", "add --executor ray")),
    (("--storage_path", "s3://bucket/x"), ("storage_path='s3://bucket/x'", "add --executor ray")),
    (("--node_dir", "/scratch"), ("node_dir='/scratch'", "add --executor ray")),
    (("--output_dir", ""), ("output_dir=''", "name a folder")),
    (("--output_dir", " "), ("output_dir=' '", "name a folder")),
    (("--output_dir", "x" * 300), ("output_dir='xxx", "choose another folder")),
    (("--output_dir", "a\0b"), ("output_dir='a\\x00b'", "must not hold NUL")),
    (("--output_dir", "FILE"), ("output_dir='FILE'", "is a file", "choose another folder")),
    (("--output_dir", "DANGLING"), ("output_dir='DANGLING'", "choose another folder")),
    (("--output_dir", "LOOP"), ("output_dir='LOOP'", "choose another folder")),
    (("--processed_dir", ""), ("processed_dir=''", "name a folder")),
    (("--processed_dir", "\t"), ("processed_dir='\\t'", "name a folder")),
    (("--processed_dir", "FILE"), ("processed_dir='FILE'", "is a file", "choose another folder")),
    (("--processed_dir", "FILE/below"), ("processed_dir='FILE/below'", "is a file")),
    (("--processed_dir", "y" * 300), ("processed_dir='yyy", "choose another folder")),
    (("--data_dir", "none"), ("data_dir='none'", "no such folder")),
    (("--data_dir", "FILE"), ("data_dir='FILE'", "folder")),
    (("--data_dir", "DANGLING"), ("data_dir='DANGLING'", "no such folder")),
    (("--data_dir", "z" * 300), ("data_dir='zzz", "no such folder")),
    (("--data_dir", "a\0b"), ("data_dir='a\\x00b'", "must not hold NUL")),
    (("--config", "none.yaml"), ("--config none.yaml", "No such file", "give a file")),
    (("--config", "FOLDER"), ("--config FOLDER", "directory", "give a file")),
    (("--config", "DANGLING"), ("--config DANGLING", "give a file")),
    (("--config", ""), ("--config", "give a file")),
    (("--config", "PIPE"), ("--config PIPE", "a pipe or a device", "give a file")),
    (("--config", "/dev/zero"), ("--config /dev/zero", "a pipe or a device", "give a file")),
    (("--teacher_context", "file:PIPE"), ("teacher_context='file:PIPE'", "a pipe or a device", "give a text file")),
    (("--teacher_context", "file:/dev/zero"), ("teacher_context='file:/dev/zero'", "a pipe or a device")),
    # models
    (("--teacher_model", " "), ("teacher_model=' '", "existing folder or a hub name")),
    (("--teacher_model", "FILE"), ("teacher_model='FILE'", "is a file", "folder")),
    (("--teacher_model", "FOLDER"), ("teacher_model='FOLDER'", "no config.json")),
    (("--teacher_model", "PIPE"), ("teacher_model='PIPE'", "is a file", "folder")),
    (("--teacher_model", "PIPED"), ("teacher_model='PIPED'", "tokenizer.json", "a pipe or a device", "a whole model")),
    (("--student_model", "./none"), ("student_model='./none'", "no such folder")),
    (("--student_model", "a/b/c"), ("student_model='a/b/c'", "no such folder")),
    (("--student_model", "org/na me"), ("student_model='org/na me'", "no such folder")),
    (("--student_model", "https://example.org/m"), ("student_model='https://example.org/m'", "hub name")),
    (("--student_model", "m\0"), ("student_model='m\\x00'", "must not hold NUL")),
    (("--student_model", "m\udc80"), ("student_model='m\\udc80'", "not UTF-8")),
    # lists
    (("--arms", ""), ("arms=''", "one or more of sft, kd, opd")),
    (("--arms", "sft,,kd"), ("arms='sft,,kd'", "one or more of sft, kd, opd")),
    (("--arms", "SFT"), ("arms='SFT'", "one or more of sft, kd, opd")),
    (("--arms", "sft;kd"), ("arms='sft;kd'", "separated by commas")),
    (("--arms", "sft,sft"), ("arms='sft,sft'", "sft", "twice")),
    (("--domains", ""), ("domains=''", "at least 1 character")),
    (("--domains", "math,,aiops"), ("domains='math,,aiops'", "'' is not a domain", "math, code, aiops, own")),
    (("--domains", "math,physics"), ("domains='math,physics'", "'physics' is not a domain")),
    (("--domains", "auto,math"), ("domains='auto,math'", "'auto'")),
    (("--domains", "math,math"), ("domains='math,math'", "math", "twice")),
    (("--domains", "own"), ("domains='own'", "--train_file is missing")),
    (("--seeds", "1,,2"), ("seeds='1,,2'", "separated by commas")),
    (("--seeds", "1,1"), ("seeds='1,1'", "names 1 twice")),
    (("--seeds", "01,1"), ("seeds='01,1'", "names 1 twice")),
    (("--seeds", "1,-2"), ("seeds='1,-2'", "whole numbers")),
    (("--seeds", "1 2"), ("seeds='1 2'", "separated by commas")),
    (("--seeds", "1,4294967296"), ("seeds='1,4294967296'", "4294967295")),
    (("--seeds", "one"), ("seeds='one'", "whole numbers")),
    (("--seeds", ","), ("seeds=','", "whole numbers")),
    (("--seeds", "9" * 5000), ("seeds='999", "whole numbers")),
    (("--gpus", ""), ("gpus=''", "give all, or numbers")),
    (("--gpus", "0;1"), ("gpus='0;1'", "give all, or numbers")),
    (("--gpus", "0,"), ("gpus='0,'", "give all, or numbers")),
    (("--gpus", "cuda:0"), ("gpus='cuda:0'", "0,1,2,3")),
    (("--gpus", "-1"), ("gpus='-1'", "0,1,2,3")),
    (("--gpus", "²"), ("gpus='²'", "0,1,2,3")),
    (("--gpus", "9" * 5000), ("gpus='999", "0,1,2,3")),
    (("--report_to", ""), ("report_to=''", "must be none, or one or more of")),
    (("--report_to", "none,wandb"), ("report_to='none,wandb'", "must be none, or one or more of")),
    (("--report_to", "tensorboard,tensorboard"), ("report_to='tensorboard,tensorboard'", "twice")),
    (("--lora_target_modules", "q_proj,,v_proj"), ("lora_target_modules='q_proj,,v_proj'", "separated by commas")),
    (("--lora_target_modules", " "), ("lora_target_modules=' '", "separated by commas")),
    (("--lora_target_modules", "q_proj,q_proj"), ("lora_target_modules='q_proj,q_proj'", "twice")),
    # values with a form
    (("--teacher_context", ""), ("teacher_context=''", "must be none, reference, fewshot:K")),
    (("--teacher_context", "fewshot"), ("teacher_context='fewshot'", "fewshot:K")),
    (("--teacher_context", "fewshot:0"), ("teacher_context='fewshot:0'", "from 1 to 64")),
    (("--teacher_context", "fewshot:65"), ("teacher_context='fewshot:65'", "from 1 to 64")),
    (("--teacher_context", "fewshot:064000"), ("teacher_context='fewshot:064000'", "from 1 to 64")),
    (("--teacher_context", "fewshot:" + "0" * 5000 + "1"), ("teacher_context='fewshot:00", "from 1 to 64")),
    (("--teacher_context", "math=fewshot:0"), ("teacher_context='math=fewshot:0'", "from 1 to 64")),
    (("--teacher_context", "math=none,math=reference"), ("teacher_context='math=", "names math twice")),
    (("--teacher_context", "physics=reference"), ("teacher_context=", "physics")),
    (("--teacher_context", "aiops=file:none.txt"), ("teacher_context=", "none.txt", "give")),
    (("--teacher_context", "fewshot:٣"), ("teacher_context='fewshot:٣'", "from 1 to 64")),
    (("--teacher_context", "fewshot:-1"), ("teacher_context='fewshot:-1'", "from 1 to 64")),
    (("--teacher_context", "reference:1"), ("teacher_context='reference:1'", "must be none, reference")),
    (("--teacher_context", "file:"), ("teacher_context='file:'", "file:FILE")),
    (("--teacher_context", "file:none.txt"), ("teacher_context='file:none.txt'", "No such file", "give")),
    (("--teacher_context", "file:FOLDER"), ("teacher_context='file:FOLDER'", "directory", "give")),
    (("--teacher_context", "file:EMPTY"), ("teacher_context='file:EMPTY'", "is empty", "write")),
    (("--teacher_context", "file:LATIN1"), ("teacher_context='file:LATIN1'", "line 1", "not UTF-8", "save the file")),
    (("--teacher_context", "file:UTF16"), ("teacher_context='file:UTF16'", "UTF-16", "convert")),
    (("--teacher_context", "file:NUL"), ("teacher_context='file:NUL'", "NUL", "remove")),
    (("--teacher_context", "file:HUGE"), ("teacher_context='file:HUGE'", "1,000,000", "shorten")),
    (("--teacher_context", "file:a\0b"), ("teacher_context='file:a\\x00b'", "must not hold NUL")),
    (("--teacher_context", "file:" + "x" * 300), ("teacher_context='file:xxx", "give")),
    (("--prompt_date", "tomorrow"), ("prompt_date='tomorrow'", "date")),
    (("--prompt_date", "2026-02-30"), ("prompt_date='2026-02-30'", "date")),
    (("--prompt_date", "20260101"), ("prompt_date='20260101'", "date")),
    (("--prompt_date", "0"), ("prompt_date='0'", "date", "2026-01-31")),
    (("--prompt_date", "1767225600"), ("prompt_date='1767225600'", "2026-01-31")),
    (("--prompt_date", "2026-01-01T10:00"), ("prompt_date='2026-01-01T10:00'", "date")),
    (("--system_prompt", "Be brief."), ("system_prompt='Be brief.'", "data of your own")),
    # numbers that something overflows with
    *(((f"--{name}", "1" + "0" * 18), (f"{name}=", "must be less than 4294967296")) for name in (
        "sft_batch_size", "kd_epochs", "max_length", "max_new_tokens", "aiops_train_size", "math_eval_size", "topk",
        "opd_steps", "save_steps", "gradient_accumulation_steps", "lm_eval_limit", "endpoint_per_minute",
    )),
    *(((f"--{name}", "5e-324"), (f"{name}=", "must be 0 or at least 1e-12")) for name in (
        "temperature", "sampling_temperature", "retry_temperature", "endpoint_timeout_s", "alpha", "max_grad_norm",
    )),
    (("--endpoint_timeout_s", "1e308"), ("endpoint_timeout_s='1e308'", "less than or equal to 86400")),
    (("--weight_decay", "1e308"), ("weight_decay='1e308'", "less than or equal to 100")),
    # settings that contradict each other
    (("--max_length", "512"), ("max_new_tokens=512", "must be below max_length=512")),
    (("--answers", "reference", "--teacher_context", "reference"), ("teacher_context='reference'", "leave one out")),
    (("--answers", "reference", "--teacher_context", "fewshot:2", "--arms", "sft"), ("'fewshot:2'", "leave one out")),
    (("--answers", "reference", "--answers_per_item", "2"), ("answers_per_item=2", "leave one out")),
    (("--train_file", "FILE"), ("train_file='FILE'", "--eval_file is missing")),
    (("--eval_file", "FILE"), ("eval_file='FILE'", "--train_file is missing")),
    (("--domains", "math", "--train_file", "FILE"), ("train_file='FILE'", "add own to --domains")),
    (("--own_grader", "exact"), ("own_grader='exact'", "give --train_file and --eval_file")),
    (("--teacher_endpoint", "http://localhost:1/v1"), ("teacher_endpoint='http://localhost", "add that flag")),
    (("--endpoint_model", "large"), ("endpoint_model='large'", "--engine endpoint", "add that flag")),
    (("--endpoint_body", '{"top_k": 5}'), ("endpoint_body='{", "--engine endpoint", "add that flag")),
    (("--run_score", "--teacher_signal", "online"), ("teacher_signal='online'", "run_score=True", "leave run_score")),
    (("--engine", "endpoint"), ("teacher_endpoint=''", "give the URL")),
    (("--engine", "endpoint", "--teacher_endpoint", "localhost"), ("teacher_endpoint='localhost'", "give the URL")),
    (
        ("--engine", "endpoint", "--teacher_endpoint", "http://localhost/v1", "--endpoint_model", " "),
        ("endpoint_model=' '", "is blank", "leave it out"),
    ),
    (("--executor", "ray", "--storage_path", " "), ("storage_path=' '", "must not be blank", "leave it out")),
    (("--executor", "ray", "--address", ""), ("address=''", "must not be blank", "leave it out")),
    (("--engine", "endpoint", "--teacher_endpoint", "ftp://h/v1"), ("teacher_endpoint='ftp://h/v1'", "give the URL")),
    (("--engine", "endpoint", "--teacher_endpoint", "http://h:port/"), ("teacher_endpoint='http://h:port/'", "URL")),
    (("--engine", "endpoint", "--teacher_endpoint", "http://[::1"), ("teacher_endpoint='http://[::1'", "URL")),
    (
        ("--engine", "endpoint", "--teacher_endpoint", "http://localhost/v1", "--endpoint_body", "{"),
        ("endpoint_body='{'", "give a JSON object"),
    ),
    (
        ("--engine", "endpoint", "--teacher_endpoint", "http://localhost/v1", "--endpoint_body", "[" * 100_000),
        ("endpoint_body='[[[", "give a JSON object"),
    ),
    (
        ("--engine", "endpoint", "--teacher_endpoint", "http://localhost/v1", "--endpoint_body", '{"x": NaN}'),
        ("endpoint_body=", "NaN", "give a JSON object"),
    ),
    (("--teacher_quantization", "awq", "--engine", "transformers"), ("teacher_quantization='awq'", "needs vLLM")),
    (("--device", "cpu", "--sharding", "fsdp2"), ("sharding='fsdp2'", "need GPUs", "--sharding ddp")),
    (("--arms", "opd", "--opd_max_new_tokens", "2048"), ("opd_max_new_tokens=2048", "below max_length=2048")),
    (("--teacher_context", "fewshot:3", "--math_train_size", "3"), ("teacher_context='fewshot:3'", "math has 3")),
    (
        ("--math_train_size", "0", "--code_train_size", "0", "--aiops_train_size", "0"),
        ("math_train_size=0", "nothing to train on", "above 0"),
    ),
    (("--code_eval_size", "165"), ("code_eval_size='165'", "less than or equal to 164")),
    (
        ("--lm_eval_include_path", "none", "--lm_eval_tasks", "gsm8k"),
        ("lm_eval_include_path='none'", "no such folder", "YAML files"),
    ),
    (("--lm_eval_tasks", "gsm8k,,"), ("lm_eval_tasks='gsm8k,,'", "separated by commas")),
    (("--node_dir", ""), ("node_dir=''", "name a folder")),
    (("--teacher_model", "~no_such_user/x"), ("teacher_model='~no_such_user/x'", "no such folder")),
    (
        ("--train_file", "~no_such_user/x", "--eval_file", "~no_such_user/x"),
        ("train_file='~no_such_user/x'", "no such file"),
    ),
    (
        ("--train_file", "FILE", "--eval_file", "FILE", "--own_grader", "python:~no_such_user/x.py:f"),
        ("own_grader=", "there is no file '~no_such_user/x.py'"),
    ),
    (("--train_file", "x/" * 3000), ("train_file='x/x/", "--eval_file is missing")),
    (("--teacher_model", "ADAPTER"), ("teacher_model='ADAPTER'", "holds adapter_config.json", "merge_and_unload")),
    (("--arms", "sft", "--arms", "kd"), ("--arms kd", "was given before", "commas")),
    (("--domains=math", "--domains=code"), ("--domains code", "was given before", "commas")),
    (("--seeds", "1", "--seeds", "2"), ("--seeds 2", "was given before", "commas")),
    (("--preset", "fast", "--preset", "accurate"), ("--preset accurate", "was given before", "leave one out")),
    (("--config", "a.yaml", "--config", "b.yaml"), ("--config b.yaml", "was given before", "leave one out")),
    (("--preset", ""), ("--preset", "not a preset", "fast, accurate")),
    (("--preset", "Fast"), ("--preset Fast", "fast, accurate")),
    (("--seed", "1", "stray"), ("stray", "no such flag")),
    (("--run_kd", "stray"), ("run_kd='stray'", "must be a valid boolean")),
    (("--alpha",), ("--alpha", "expected one argument")),
    (("--seed", "1", "--run_kdd"), ("--run_kdd", "did you mean run_kd")),
]  # fmt: skip


def prepared(folder: Path) -> None:
    """The files that the table names in capitals."""
    (folder / "FILE").write_text('{"prompt": "a"}\n')
    (folder / "FOLDER").mkdir()
    (folder / "DANGLING").symlink_to(folder / "nowhere" / "at all")
    (folder / "LOOP").symlink_to(folder / "LOOP")
    os.mkfifo(folder / "PIPE")
    (folder / "PIPED").mkdir()
    (folder / "PIPED" / "config.json").write_text("{}")
    os.mkfifo(folder / "PIPED" / "tokenizer.json")
    (folder / "ADAPTER").mkdir()
    for name in ("config.json", "adapter_config.json"):
        (folder / "ADAPTER" / name).write_text("{}")
    (folder / "EMPTY").write_text(" \n")
    (folder / "LATIN1").write_bytes("Übersicht".encode("latin-1"))
    (folder / "UTF16").write_bytes("Runbook".encode("utf-16"))
    (folder / "NUL").write_bytes(b"Run\0book")
    (folder / "HUGE").write_bytes(b"x" * 1_000_001)


@pytest.mark.parametrize(("argv", "words"), TABLE, ids=[" ".join(argv)[:40] for argv, _ in TABLE])
def test_a_wrong_value_is_refused_in_one_line(refuse: Refusals, argv: tuple[str, ...], words: tuple[str, ...]) -> None:
    prepared(Path())
    line = refuse.line("run", "--run_all", *argv)
    assert missing(words, line) == [], line


def test_a_number_that_is_given_twice_is_the_last_one() -> None:
    """A script can override its own numbers; only what reads like two parts of one list is refused."""
    arguments = _parser().parse_args(["run", "--seed", "1", "--seed", "2", "--arms", "sft"])
    assert (arguments.seed, arguments.arms) == ("2", "sft")


def test_odd_values_that_mean_something_are_read() -> None:
    given = {"sft_lr": "2e-4", "seed": " 7 ", "gpus": "0, 1", "arms": " kd , sft", "run_all": "yes", "seeds": "3, 4"}
    config = resolve_config(given)
    assert (config.sft_lr, config.seed, config.gpus, config.arms) == (2e-4, 7, "0,1", "sft,kd")
    assert (config.run_all, config.training_seeds) == (True, (3, 4))
    marked = resolve_config({"system_prompt": "\u200fأجب\u200e باختصار", "teacher_context": "fewshot:08"})
    assert marked.system_prompt == "\u200fأجب\u200e باختصار"
    assert marked.teacher_context == "fewshot:8"
