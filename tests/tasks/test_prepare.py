"""The two datasets: counts, determinism, and errors for sources that are not available."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import load_jsonl
from l2s.run_dir import RunDir
from l2s.tasks import prepare
from l2s.tasks.contamination import overlap

DATA = os.environ.get("L2S_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="L2S_TEST_DATA names no folder with gsm8k/ and mbpp/")


def prepared(tmp_path: Path, name: str = "x", **fields: Any) -> RunDir:
    config = ExperimentConfig(
        experiment_name=name, output_dir=tmp_path / "outputs", processed_dir=tmp_path / "processed", **fields
    )
    run_dir = RunDir.of(config)
    prepare.run(config, run_dir)
    return run_dir


@needs_data
def test_the_full_datasets_have_the_specified_rows(tmp_path: Path) -> None:
    prepared(tmp_path, data_dir=DATA)
    train = load_jsonl(tmp_path / "processed" / "train_dataset.jsonl")
    evaluation = load_jsonl(tmp_path / "processed" / "eval_dataset.jsonl")
    assert Counter(row["domain"] for row in train) == {"math": 2000, "code": 164, "aiops": 1000}
    assert Counter(row["domain"] for row in evaluation) == {"math": 200, "code": 50, "aiops": 100}
    assert {row["source"] for row in train if row["domain"] == "code"} == {"mbpp"}
    for row in train + evaluation:
        assert list(row) == ["id", "domain", "source", "messages", "reference", "meta"]


@needs_data
def test_the_specifications_own_code_table_can_be_had(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path, data_dir=DATA, code_train_source="humaneval", math_train_size=1, aiops_train_size=1)
    train = {row["meta"]["row"]["task_id"] for row in load_jsonl(run_dir.train_data) if row["domain"] == "code"}
    evaluation = {row["meta"]["row"]["task_id"] for row in load_jsonl(run_dir.eval_data) if row["domain"] == "code"}
    assert (len(train), len(evaluation), len(train & evaluation)) == (164, 50, 50)


def test_datasets_are_deterministic_in_the_seed(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "math_source": "synthetic", "code_train_source": "humaneval", "math_train_size": 20, "code_train_size": 5,
        "aiops_train_size": 10, "math_eval_size": 5, "code_eval_size": 5, "aiops_eval_size": 5,
    }  # fmt: skip
    first, again = prepared(tmp_path, "a", **sizes), prepared(tmp_path, "b", **sizes)
    other = prepared(tmp_path, "c", **(sizes | {"seed": 7}))
    assert first.train_data.read_bytes() == again.train_data.read_bytes()
    assert first.eval_data.read_bytes() == again.eval_data.read_bytes()
    assert first.train_data.read_bytes() != other.train_data.read_bytes()


def gsm8k_folder(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "data"
    (folder / "gsm8k").mkdir(parents=True)
    for split in ("train", "test"):
        (folder / "gsm8k" / f"{split}.jsonl").write_text(text)
    return folder


MATH_ONLY: dict[str, Any] = {"code_train_size": 0, "aiops_train_size": 0, "code_eval_size": 0, "aiops_eval_size": 0,
             "math_train_size": 2, "math_eval_size": 2}  # fmt: skip


def test_an_empty_data_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_dir=.*train\.jsonl.*empty"):
        prepared(tmp_path, data_dir=gsm8k_folder(tmp_path, ""), **MATH_ONLY)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    good = '{"question": "1 + 1?", "answer": "#### 2"}\n'
    with pytest.raises(UserError, match=r"data_dir=.*train\.jsonl, line 7"):
        prepared(tmp_path, data_dir=gsm8k_folder(tmp_path, good * 6 + good[:9] + "\n"), **MATH_ONLY)


def test_a_missing_source_names_itself_and_the_two_ways_to_supply_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError) as caught:
        prepared(tmp_path, data_dir=tmp_path / "data", **MATH_ONLY)
    assert re.search("(?i)gsm8k", str(caught.value))
    assert "data_dir" in str(caught.value)


def test_too_many_rows_for_a_source_are_refused_by_name(tmp_path: Path) -> None:
    good = '{"question": "1 + 1?", "answer": "#### 2"}\n'
    with pytest.raises(UserError, match="math_train_size"):
        prepared(tmp_path, data_dir=gsm8k_folder(tmp_path, good * 3), **(MATH_ONLY | {"math_train_size": 4}))


def test_publishing_to_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = ExperimentConfig(
        output_dir=tmp_path / "outputs", processed_dir=tmp_path / "file", math_source="synthetic",
        code_train_source="humaneval", math_train_size=2, code_train_size=2, aiops_train_size=2,
    )  # fmt: skip
    with pytest.raises(UserError, match="processed_dir"):
        prepare.run(config, RunDir.of(config))


def test_every_item_names_its_problem_apart_from_the_instructions(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"math_train_size": 5, "code_train_size": 20, "aiops_train_size": 5, "math_eval_size": 5,
             "code_eval_size": 20, "aiops_eval_size": 5}  # fmt: skip
    run_dir = prepared(tmp_path, math_source="synthetic", code_train_source="humaneval", **sizes)
    train, evaluation = load_jsonl(run_dir.train_data), load_jsonl(run_dir.eval_data)
    for row in train + evaluation:
        assert isinstance(row["meta"]["problem"], str)
        assert row["meta"]["problem"] in row["messages"][-1]["content"]
    assert overlap(train, evaluation)["code"].ngram == []  # type: ignore[arg-type]
