"""`--answers reference`: the reference solutions of the data become the training answers; no model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from l2s.chat import load_renderers
from l2s.config import ExperimentConfig, resolve_config
from l2s.devices import REPLICA
from l2s.errors import UserError
from l2s.generation import generate
from l2s.generation.context import teacher_messages
from l2s.generation.whose_answers import check_answers, unused_references
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.runner.pipeline import stage_of
from l2s.runner.preflight import check_machine
from l2s.sequences import load_sequences
from l2s.tasks import aiops, code, math, own
from l2s.tasks.table import grade_all, tasks_of
from l2s.tasks.types import Item, Message

MakeConfig = Callable[..., ExperimentConfig]


def answered(config: ExperimentConfig, items: list[Item]) -> list[dict[str, object]]:
    run_dir = RunDir.of(config)
    run_dir.train_data.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.train_data, items)
    generate.run(config, run_dir)
    return load_jsonl(run_dir.responses)


def test_reference_solutions_are_right_answers_in_every_domain(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "open_engine", None)
    config = tiny_config(
        answers="reference", math_source="one_step", code_train_source="humaneval",
        math_train_size=4, code_train_size=2, aiops_train_size=4,
    )  # fmt: skip
    items = [item for task in tasks_of(config).values() for item in task.train_items(config)]
    rows = answered(config, items)
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    grades = grade_all([(item, str(row["response"]), "stop") for item, row in zip(items, rows, strict=True)], config)
    assert [grade.score for grade in grades if grade] == [1.0] * 10
    assert {(row["teacher"], row["token_ids"], row["finish_reason"]) for row in rows} == {("reference", None, "stop")}


def test_a_context_is_shown_to_the_teacher_alone(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "open_engine", None)
    config = tiny_config(
        answers="reference", teacher_context="math=fewshot:2", math_source="one_step",
        math_train_size=4, code_train_size=0, aiops_train_size=1, max_length=4096,
    )  # fmt: skip
    items = [item for task in tasks_of(config).values() for item in task.train_items(config)]
    asked = teacher_messages(items, config)
    for item, row in zip(items, answered(config, items), strict=True):
        assert row["messages"] == item["messages"]
        assert row.get("teacher_messages") == (asked[item["id"]] if item["domain"] == "math" else None)
    both = load_renderers(config)
    sequences, _ = load_sequences(RunDir.of(config).responses, both.student, config, teacher=both.teacher)
    for sequence, item in zip(sequences, items, strict=True):
        prompt = both.teacher.prompt_ids(asked[item["id"]])
        assert sequence.for_teacher().input_ids[: len(prompt)] == prompt


def test_a_context_that_leaves_no_room_is_refused(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2s.generation.answers.context_window", lambda model: 200)
    monkeypatch.setattr("l2s.generation.generate.context_window", lambda model: 200)
    config = tiny_config(answers="reference", math_source="one_step", math_train_size=4)
    items = list(math.train_items(config))
    assert len(answered(config, items)) == 4
    with pytest.raises(UserError, match=r"max_new_tokens=16: 4 of 4 prompts leave .*show the teacher less"):
        answered(config.model_copy(update={"teacher_context": "fewshot:3"}), items)


def test_the_calculator_notes_of_gsm8k_are_not_taught() -> None:
    item = Item(
        id="a", domain="math", source="gsm8k", messages=[], reference="13",
        meta={"solution": "She keeps 16 - 3 = <<16-3=13>>13 eggs.\n#### 13"},
    )  # fmt: skip
    assert math.TASK.solution(item) == "She keeps 16 - 3 = 13 eggs.\n#### 13"


def test_items_without_a_reference_are_left_out_and_none_at_all_is_an_error(tiny_config: MakeConfig) -> None:
    config = tiny_config(answers="reference", math_source="one_step", math_train_size=2, aiops_train_size=1)
    items = [*math.train_items(config), *aiops.train_items(config)]
    items[-1]["reference"] = ""
    assert len(answered(config, items)) == 2
    assert generate.run(config, RunDir.of(config))["num_rejected"] == 1
    with pytest.raises(UserError, match="answers='reference': no training item has a reference solution"):
        answered(config, items[-1:])


def test_a_blank_reference_of_own_data_is_none() -> None:
    for reference, solution in ((" \n", None), (None, None), ("B", "B"), (["a"], '["a"]')):
        row = Item(id="o", domain="own", source="own", messages=[], reference=reference, meta={})
        assert own.TASK.solution(row) == solution


def test_equal_references_put_no_teacher_in_doubt(tiny_config: MakeConfig) -> None:
    config = tiny_config(answers="reference", own_grader="choice")
    asked: list[list[Message]] = [[{"role": "user", "content": f"{n}?"}] for n in range(9)]
    items = [
        Item(id=f"o{n}", domain="own", source="own", messages=messages, reference="B", meta={})
        for n, messages in enumerate(asked)
    ]
    answered(config, items)
    assert generate.run(config, RunDir.of(config))["warnings"] == []


def test_an_evaluation_that_does_not_fit_is_refused_before_the_training(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2s.generation.answers.context_window", lambda model: 200)
    config = tiny_config(answers="reference", math_source="one_step", math_train_size=2)
    items = list(math.train_items(config))
    long = items[0] | {"id": "long", "messages": [{"role": "user", "content": "1, " * 400}]}
    evaluation = RunDir.of(config).eval_data
    evaluation.parent.mkdir(parents=True)
    write_jsonl(evaluation, [long])
    with pytest.raises(UserError, match=r"max_new_tokens=16: 1 of 1 prompt leaves .*item 'long'"):
        answered(config, items)


def test_a_program_is_fenced_and_keeps_its_indentation() -> None:
    item = Item(id="c", domain="code", source="mbpp", messages=[], reference="def f(x):\n    return x\n", meta={})
    assert code.TASK.solution(item) == "```python\ndef f(x):\n    return x\n```"


def test_one_replica_writes_them(tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """On several machines two writers of one file would meet."""
    config = tiny_config(answers="reference", math_source="one_step", math_train_size=2)
    monkeypatch.setenv(REPLICA, "1/2")
    with pytest.raises(FileNotFoundError):
        answered(config, math.train_items(config))
    monkeypatch.setenv(REPLICA, "0/2")
    assert len(answered(config, math.train_items(config))) == 2


@pytest.mark.parametrize("preset", [None, "recommended", "demo"])
def test_what_only_the_teachers_answers_need_is_refused_if_asked_for_and_left_out_of_a_preset(
    preset: str | None, tmp_path: Path
) -> None:
    config = resolve_config({"answers": "reference"}, preset=preset)
    assert (config.keep_correct, config.answers_per_item, config.teacher_context) == (False, 1, "none")
    with pytest.raises(UserError, match=r"^keep_correct=True: with answers='reference'.*leave one out$"):
        resolve_config({"answers": "reference", "keep_correct": True}, preset=preset)
    file = tmp_path / "config.yaml"
    file.write_text("answers: reference\nteacher_context: reference\n")
    with pytest.raises(UserError, match=r"teacher_context='reference': with answers='reference' KD"):
        resolve_config({}, preset=preset, file=file)


def test_other_presets_keep_what_they_say_of_the_teachers_answers() -> None:
    assert resolve_config({}, preset="recommended").keep_correct
    assert resolve_config({"answers": "teacher"}, preset="recommended").answers_per_item == 4


def test_domains_learn_from_whom_they_are_told_to(tiny_config: MakeConfig) -> None:
    config = tiny_config(
        answers="code=teacher, math=reference", math_source="one_step", code_train_source="humaneval",
        math_train_size=3, code_train_size=2, answers_per_item=2, max_length=4096,
    )  # fmt: skip
    assert config.answers == "math=reference"
    items = [item for task in tasks_of(config).values() for item in task.train_items(config)]
    items = [items[3], items[0], items[4], items[1], items[2]]  # the domains need not follow each other
    rows = answered(config, items)
    whose = [(row["domain"], str(row["id"]).partition("~")[0], row["teacher"]) for row in rows]
    assert list(dict.fromkeys(id_ for _, id_, _ in whose)) == [item["id"] for item in items]
    assert {(domain, teacher) for domain, _, teacher in whose} == {
        ("math", "reference"), ("code", config.teacher_model),
    }  # fmt: skip
    assert sum(domain == "math" for domain, _, _ in whose) == 3
    metrics = generate.run(config, RunDir.of(config))
    assert metrics["curation"].keys() == {"code"}
    assert (metrics["num_responses"], metrics["num_rejected"]) == (len(rows), 0)
    assert [found["asked"] for found in metrics["tries"]] == [2, 2]


def test_replicas_share_what_is_asked_beside_references(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, one = (
        tiny_config(
            experiment_name=name, answers="math=reference", math_source="one_step", code_train_source="humaneval",
            math_train_size=3, code_train_size=5, aiops_train_size=0, generation_batch_size=2, sampling_temperature=1.0,
        )
        for name in ("two", "one")
    )  # fmt: skip
    items = [item for task in tasks_of(one).values() for item in task.train_items(one)]
    path = RunDir.of(two).train_data
    path.parent.mkdir(parents=True)
    write_jsonl(path, items)
    for number in (1, 0):
        monkeypatch.setenv(REPLICA, f"{number}/2")
        assert bool(generate.run(two, RunDir.of(two))) == (number == 0)
        assert RunDir.of(two).responses.exists() == (number == 0)
    monkeypatch.delenv(REPLICA)
    assert load_jsonl(RunDir.of(two).responses) == answered(one, items)


def test_items_that_lack_a_reference_are_counted_beside_the_teachers_answers(tiny_config: MakeConfig) -> None:
    config = tiny_config(answers="aiops=reference", math_source="one_step", math_train_size=2, aiops_train_size=2)
    items = [*math.train_items(config), *aiops.train_items(config)]
    items[-1]["reference"] = ""
    rows = answered(config, items)
    assert [(row["domain"], row["teacher"] == "reference") for row in rows] == [
        ("math", False), ("math", False), ("aiops", True),
    ]  # fmt: skip
    assert generate.run(config, RunDir.of(config))["num_rejected"] == 1


def own_rows(number: int, reference: str, **other: str) -> list[Item]:
    asked: list[list[Message]] = [[{"role": "user", "content": f"{n}?"}] for n in range(number)]
    rows = enumerate(asked)
    return [
        Item(id=f"o{n}", domain="own", source="own", messages=messages, reference=reference, meta={}) | other  # type: ignore[misc]
        for n, messages in rows
    ]


@pytest.mark.parametrize("domain", ["own", "incident"])
def test_equal_references_put_no_teacher_in_doubt_beside_its_answers(tiny_config: MakeConfig, domain: str) -> None:
    config = tiny_config(answers="own=reference", own_grader="choice", math_source="one_step", math_train_size=2)
    answered(config, [*math.train_items(config), *own_rows(9, "B", domain=domain)])
    found = generate.run(config, RunDir.of(config))["warnings"]
    assert [warning for warning in found if warning["key"] == "same_answers"] == []


def test_a_second_answer_gets_no_id_that_a_row_with_a_reference_has(tiny_config: MakeConfig) -> None:
    config = tiny_config(
        answers="own=reference", math_source="one_step", math_train_size=1, answers_per_item=3, retry_temperature=9
    )
    (problem,) = math.train_items(config)
    rows = answered(config, [problem, *own_rows(1, "B", id=f"{problem['id']}~2")])
    ids = [row["id"] for row in rows]
    assert len(ids) > 2  # so it has a second answer
    assert len(set(ids)) == len(ids)


def test_only_prompts_that_the_teacher_reads_must_fit_its_window(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2s.generation.answers.context_window", lambda model: 200)
    monkeypatch.setattr("l2s.generation.generate.context_window", lambda model: 200)
    config = tiny_config(answers="own=reference", math_source="one_step", math_train_size=2, max_length=1024)
    long = own_rows(1, "B")
    long[0]["messages"] = [{"role": "user", "content": "1, " * 100}]
    assert len(answered(config, [*math.train_items(config), *long])) == 3
    with pytest.raises(UserError, match="1 of 3 prompts leave"):
        answered(config.model_copy(update={"answers": "teacher"}), [*math.train_items(config), *long])


def test_what_is_lacking_is_said_where_nothing_can_be_learned(tiny_config: MakeConfig) -> None:
    config = tiny_config(answers="own=reference", math_source="one_step", math_train_size=2, keep_correct=True)
    with pytest.raises(UserError, match=r"any of 2 items .*; answers='own=reference': 3 items without a reference"):
        answered(config, [*math.train_items(config), *own_rows(3, "")])


def test_a_preset_shows_the_teacher_nothing_where_references_are_learned() -> None:
    for answers, context in (("aiops=reference", "none"), ("math=reference", "aiops=reference")):
        assert resolve_config({"answers": answers}, preset="recommended").teacher_context == context
    with pytest.raises(UserError, match=r"in aiops KD would ask .*name the domains of each"):
        resolve_config({"answers": "aiops=reference", "teacher_context": "aiops=reference"}, preset="recommended")


def test_references_in_every_trained_domain_leave_nothing_to_choose() -> None:
    every = {"answers": "math=reference,code=reference,aiops=reference"}
    for name, value in (("keep_correct", True), ("answers_per_item", 4)):
        with pytest.raises(UserError, match=f"{name}={value}: with answers='aiops=reference,code=reference,math=ref"):
            resolve_config({**every, name: value})
    assert not resolve_config({"answers": "math=reference"}, preset="demo").keep_correct  # it has math alone
    assert resolve_config({**every, "keep_correct": True, "train_file": "a.jsonl"}).keep_correct  # own data too


def test_references_of_code_need_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("l2s.sandbox.check", lambda: asked.append(True))
    for answers in ("code=reference", "reference", "math=reference"):
        config = resolve_config({"answers": answers, "domains": "math,code"})
        check_machine(config, [stage_of("generate", config)])
    assert asked == [True]
    check_machine(config, [stage_of("evaluate_teacher", config)])
    assert asked == [True, True]


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("teacher", "teacher"),
        (" reference ", "reference"),
        ("math=teacher", "teacher"),
        (" own = reference ,aiops=reference,code=teacher", "aiops=reference,own=reference"),
    ],
)
def test_answers_have_one_form(given: str, usual: str) -> None:
    assert ExperimentConfig(answers=given).answers == usual


def test_all_domains_named_are_all_domains() -> None:
    """So what a preset says about the teacher's answers is left out here too."""
    config = resolve_config({"answers": "math=reference", "domains": ["math"]}, preset="recommended")
    assert (config.answers, config.keep_correct, config.answers_per_item) == ("math=reference", False, 1)
    some = resolve_config({"answers": "math=reference", "domains": "math, code"}, preset="recommended")
    assert (some.answers, some.keep_correct, some.answers_per_item) == ("math=reference", True, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"answers": "math=refrence"}, "answers='math=refrence': must be teacher or reference"),
        ({"answers": "both"}, "answers='both': must be teacher or reference"),
        ({"answers": "math=reference,cde"}, "'cde' is neither"),
        ({"answers": "math=reference,math=teacher"}, "names math twice"),
        ({"answers": "math=reference", "arms": "sft", "teacher_context": "math=fewshot:2"}, "nothing in math"),
        ({"answers": "math=reference", "teacher_context": "reference"}, "in math KD would ask"),
        ({"answers": "math=reference", "teacher_context": "math=reference,aiops=fewshot:2"}, "in math KD would ask"),
    ],
)
def test_answers_that_nobody_can_learn_from_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve_config(given)


def test_a_context_of_the_other_domains_is_kept() -> None:
    for context in ("aiops=reference", "code=fewshot:2,math=fewshot:4"):
        assert resolve_config({"answers": "math=reference", "teacher_context": context}).teacher_context == context
    alone = {"answers": "math=reference", "arms": "sft", "teacher_context": "fewshot:2"}
    assert resolve_config(alone).teacher_context == "fewshot:2"  # the teacher answers in the other domains


def test_an_unknown_domain_is_named_and_an_unused_one_too() -> None:
    config = resolve_config({"answers": "maths=reference"})
    with pytest.raises(UserError, match=r"answers='maths=reference': 'maths' is not a domain; name some of math,"):
        check_answers(config)
    unused = resolve_config({"answers": "math=reference,own=reference", "math_train_size": 0})
    check_answers(unused)
    assert unused_references(unused) == ["math", "own"]
