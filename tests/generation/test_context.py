"""What the teacher sees and the student does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig, resolve_config
from l2s.errors import UserError
from l2s.generation.context import check_context, context_files, teacher_messages
from l2s.sequences import render_answer
from l2s.tasks.types import Item


def item(number: int, **fields: Any) -> Item:
    known: Any = {
        "id": f"m{number}",
        "domain": "math",
        "source": "test",
        "messages": [{"role": "user", "content": f"What is {number}?"}],
        "reference": str(number),
        "meta": {"solution": f"It is {number}.\n#### {number}"},
    }
    found: Item = known | fields
    return found


ITEMS = [item(number) for number in range(6)]


def test_without_a_context_the_teacher_reads_the_plain_prompt() -> None:
    assert teacher_messages(ITEMS, ExperimentConfig())["m2"] == ITEMS[2]["messages"]


def test_fewshot_shows_other_solved_items_as_turns_before_the_question_and_the_same_ones_each_time() -> None:
    config = ExperimentConfig(teacher_context="fewshot:3")
    for number, messages in enumerate(teacher_messages(ITEMS, config).values()):
        assert [turn["role"] for turn in messages] == ["user", "assistant"] * 3 + ["user"]
        assert messages[-1] == ITEMS[number]["messages"][-1]
        asked = [turn["content"] for turn in messages[:-1:2]]
        assert len({*asked, messages[-1]["content"]}) == 4
        assert messages[1]["content"].removeprefix("It is ")[0] in messages[0]["content"]
    assert teacher_messages(ITEMS, config) == teacher_messages(ITEMS, config)
    assert teacher_messages(ITEMS[::-1][:5], config).keys() == {f"m{n}" for n in range(1, 6)}


def own(number: int, question: str, reference: str | None) -> Item:
    messages = [{"role": "user", "content": question}]
    return item(number, domain="own", messages=messages, reference=reference, meta={"problem": question})


def test_no_example_repeats_the_question() -> None:
    """Own rows may repeat each other: another row with this question would give the answer away."""
    questions = ["Where is  Rome?", "where is rome?", "Ｗhere is Rome?", "Where is Bonn?", "2 + 3", "2 - 3"]
    items = [own(number, question, str(number)) for number, question in enumerate(questions)]
    unsolved = own(6, "Where is Rome?", None)
    beside_a_sum = set()
    for seed in range(20):
        asked = teacher_messages([*items, unsolved], ExperimentConfig(teacher_context="fewshot:3", seed=seed))
        for name in ("m0", "m1", "m2", "m6"):
            shown = [turn["content"] for turn in asked[name][:-1:2]]
            assert sorted(shown) == ["2 + 3", "2 - 3", "Where is Bonn?"]
        beside_a_sum |= {turn["content"] for turn in asked["m4"][:-1:2]}
    assert "2 - 3" in beside_a_sum  # which is another question than 2 + 3
    with pytest.raises(UserError, match=r"only 6 training items of own .*, and 3 of them ask what item 'm0' asks"):
        teacher_messages(items, ExperimentConfig(teacher_context="fewshot:4"))


def test_examples_are_in_the_language_of_the_question_if_there_are_enough() -> None:
    english = [own(number, f"What is {number}?", str(number)) for number in range(6)]
    chinese = [own(number, f"{number} 是多少？", str(number)) for number in range(6, 10)]
    for seed in range(20):
        asked = teacher_messages([*english, *chinese], ExperimentConfig(teacher_context="fewshot:3", seed=seed))
        for number in range(10):
            shown = [turn["content"] for turn in asked[f"m{number}"] if turn["role"] == "user"]
            assert len(shown) == 4
            assert all(("是" in text) == (number >= 6) for text in shown)
    few = teacher_messages([*english, *chinese[:3]], ExperimentConfig(teacher_context="fewshot:3"))
    assert all(len({turn["content"] for turn in messages[::2]}) == 4 for messages in few.values())


def test_a_problem_with_other_punctuation_is_no_example_of_itself() -> None:
    twin = item(9, messages=[{"role": "user", "content": "what is 2"}], reference="2", meta={"solution": "#### 2"})
    for seed in range(20):
        asked = teacher_messages([*ITEMS[:4], twin], ExperimentConfig(teacher_context="fewshot:3", seed=seed))["m2"]
        assert "what is 2" not in [turn["content"] for turn in asked]


def test_fewshot_keeps_the_system_turn_first() -> None:
    system = {"role": "system", "content": "Be brief."}
    items = [item(n, messages=[system, {"role": "user", "content": f"{n}?"}]) for n in range(3)]
    messages = teacher_messages(items, ExperimentConfig(teacher_context="fewshot:1"))["m0"]
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant", "user"]


def test_a_file_is_a_system_turn_before_what_the_system_turn_says(tmp_path: Path) -> None:
    runbook = tmp_path / "runbook.md"
    runbook.write_text("\ufeffRestart first.\n", encoding="utf-8")
    config = ExperimentConfig(teacher_context=f"file:{runbook}")
    assert teacher_messages(ITEMS, config)["m1"][0] == {"role": "system", "content": "Restart first."}
    said = item(1, messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}])
    assert teacher_messages([said], config)["m1"][0]["content"] == "Restart first.\n\nBe brief."
    assert context_files(config) == [runbook]


def test_a_file_of_windows_reads_like_any_other(tmp_path: Path) -> None:
    runbook = tmp_path / "runbook.md"
    runbook.write_bytes(b"\xef\xbb\xbfRestart first.\r\n\r\nThen wait.\r\n")
    shown = teacher_messages(ITEMS, ExperimentConfig(teacher_context=f"file:{runbook}"))["m1"][0]
    assert shown["content"] == "Restart first.\n\nThen wait."


def test_a_file_that_fits_no_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "all.log"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 33)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"all\.log': the file has 8,589,934,592 bytes, at most .*; shorten it"):
        check_context(ExperimentConfig(teacher_context=f"file:{file}"))


def test_the_file_of_a_domain_without_items_is_not_read() -> None:
    config = ExperimentConfig(teacher_context="aiops=file:absent.md,math=reference")
    assert "It is 1." in teacher_messages(ITEMS, config)["m1"][-1]["content"]
    with pytest.raises(UserError, match=r"absent\.md': cannot be read"):
        teacher_messages([*ITEMS, item(9, domain="aiops")], config)


def test_reference_shows_the_solution_in_the_language_of_the_question() -> None:
    chinese = item(1, id="zh", messages=[{"role": "user", "content": "一加零等于几？"}])
    shown = teacher_messages([ITEMS[1], chinese], ExperimentConfig(teacher_context="reference"))
    assert "It is 1." in shown["m1"][-1]["content"]
    assert "do not mention" in shown["m1"][-1]["content"]
    assert "不要提到" in shown["zh"][-1]["content"]


def test_the_student_learns_the_answer_under_the_plain_prompt_and_the_teacher_is_scored_under_its_own(
    tiny_model_dir: Path,
) -> None:
    renderer = ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "teacher"))
    asked = teacher_messages(ITEMS, ExperimentConfig(teacher_context="reference"))["m3"]
    ids = renderer.answer_ids(ITEMS[3]["messages"], "It is 3.")
    row = {**ITEMS[3], "teacher_messages": asked, "response": "It is 3.", "finish_reason": "stop", "token_ids": ids}
    sequence = render_answer(row, renderer, renderer)
    assert sequence.input_ids == [*renderer.prompt_ids(ITEMS[3]["messages"]), *ids]
    assert sequence.for_teacher().input_ids == [*renderer.prompt_ids(asked), *ids]
    assert sequence.for_teacher().num_response_tokens == sequence.num_response_tokens == len(ids)


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ("fewshot", "fewshot:K"),
        ("fewshot:0", "fewshot:K"),
        ("fewshot:-1", "fewshot:K"),
        ("fewshot:1.5", "fewshot:K"),
        ("fewshot:9999", "fewshot:K"),
        ("file:", "file:FILE"),
        ("Reference", "reference"),
        ("", "none"),
        ("runbook.md", "file:FILE"),
        ("math=fewshot", "fewshot:K"),
        ("math=", "fewshot:K"),
        ("math=runbook.md", "math=fewshot:4"),
        ("math=reference,code", "reference"),
        ("math=reference,code=all", "reference"),
        ("math=reference,math=fewshot:2", "math twice"),
    ],
)
def test_an_unknown_context_is_refused_by_name(context: str, named: str) -> None:
    with pytest.raises(UserError, match=f"teacher_context=.*{named}"):
        resolve_config({"teacher_context": context})


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("math=fewshot:04, aiops = reference", "aiops=reference,math=fewshot:4"),
        ("aiops=reference,math=fewshot:4", "aiops=reference,math=fewshot:4"),  # another order is no other setting
        ("math=none,aiops=none", "none"),
        ("math=none,code=file:a,b=.md", "code=file:a,b=.md"),
        ("file:notes=a,b.md", "file:notes=a,b.md"),
    ],
)
def test_each_domain_may_have_a_context_of_its_own(given: str, usual: str) -> None:
    config = resolve_config({"teacher_context": given})
    assert config.teacher_context == usual
    assert resolve_config({"teacher_context": usual}).teacher_context == usual


def test_the_teacher_sees_the_context_of_the_domain_and_silent_domains_have_none(tmp_path: Path) -> None:
    runbook = tmp_path / "run,book=1.md"
    runbook.write_text("Restart first.")
    config = ExperimentConfig(teacher_context=f"math=fewshot:2,aiops=file:{runbook}", domains="math,code,aiops")
    others = [item(number, id=f"{domain}{number}", domain=domain) for domain in ("code", "aiops") for number in (1, 2)]
    asked = teacher_messages([others[0], *ITEMS, *others[1:]], config)
    assert list(asked) == ["code1", *(f"m{number}" for number in range(6)), "code2", "aiops1", "aiops2"]
    assert [turn["role"] for turn in asked["m3"]] == ["user", "assistant"] * 2 + ["user"]
    assert asked["code1"] == others[0]["messages"]
    assert asked["aiops2"][0] == {"role": "system", "content": "Restart first."}
    assert context_files(config) == [runbook]
    check_context(config)
    assert asked["m3"] == teacher_messages(ITEMS, ExperimentConfig(teacher_context="fewshot:2"))["m3"]


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ("maths=reference", "'maths' is not a domain; name some of math, code"),
        ("math=fewshot:9", "math has 5 training items"),
        ("code=file:absent.md", "file:absent.md': cannot be read"),
    ],
)
def test_a_context_of_a_domain_is_checked_before_anything_is_loaded(context: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        check_context(ExperimentConfig(teacher_context=context, domains="math,code", math_train_size=5))
    for fits in ("code=fewshot:9", "aiops=fewshot:9", "aiops=file:absent.md"):  # aiops is no domain of this run
        check_context(ExperimentConfig(teacher_context=fits, domains="math,code", math_train_size=5))


@pytest.mark.parametrize("context", ["reference", "aiops=reference,math=fewshot:2"])
def test_a_teacher_that_is_shown_the_reference_is_not_asked_about_it(context: str) -> None:
    both = {"teacher_context": context, "answers": "reference"}
    with pytest.raises(UserError, match=r"teacher_context='.*reference.*': with answers='reference' KD would ask"):
        resolve_config(both)
    assert resolve_config(both | {"arms": "sft,opd"}).teacher_context == context  # OPD asks about the student's answers


@pytest.mark.parametrize("context", ["reference", "fewshot:2", "math=file:runbook.md"])
def test_a_context_that_no_arm_learns_from_is_refused(context: str) -> None:
    alone = {"teacher_context": context, "answers": "reference", "arms": "sft"}
    with pytest.raises(UserError, match=r"teacher_context='.*': with answers='reference' the teacher answers nothing"):
        resolve_config(alone)
    assert resolve_config(alone | {"answers": "teacher"}).teacher_context == context


def test_an_item_has_one_reference_solution() -> None:
    with pytest.raises(UserError, match="answers_per_item=2: with answers='reference'"):
        resolve_config({"answers_per_item": 2, "answers": "reference"})


@pytest.mark.parametrize(("content", "named"), [(None, "No such file"), (b"", "empty"), (b"\xff\xfe\xff", "UTF-8")])
def test_a_context_file_that_cannot_be_used_is_refused_before_anything_is_loaded(
    tmp_path: Path, content: bytes | None, named: str
) -> None:
    file = tmp_path / "runbook.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"teacher_context='file:.*{named}"):
        check_context(ExperimentConfig(teacher_context=f"file:{file}"))


def test_more_examples_than_other_items_are_refused(tiny_config: Callable[..., ExperimentConfig]) -> None:
    with pytest.raises(UserError, match="math has 4 training items"):
        check_context(ExperimentConfig(teacher_context="fewshot:4", math_train_size=4))
    with pytest.raises(UserError, match=r"only 6 training items of math .*, and 1 of them asks what item 'm0' asks"):
        teacher_messages(ITEMS, ExperimentConfig(teacher_context="fewshot:6"))


def test_an_item_without_a_solution_is_named() -> None:
    with pytest.raises(UserError, match="'m9' has no reference solution"):
        teacher_messages([item(9, domain="own", reference=None)], ExperimentConfig(teacher_context="reference"))


def test_a_context_file_may_lie_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_config({"teacher_context": "file:~/notes.md"}).teacher_context == f"file:{tmp_path}/notes.md"
