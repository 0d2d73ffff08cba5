"""Math: reading the number of an answer, the verdicts, and the source of the problems."""

from __future__ import annotations

import json
import os
import re
from itertools import islice, product
from math import ceil
from pathlib import Path
from typing import Any, get_args

import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.tasks import contamination, math, word_problems
from l2s.tasks.task import Split
from l2s.tasks.types import Item


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        # thousands, currency, units
        ("#### $1,234", "1234"),
        ("#### 1,234.00", "1234"),
        ("So it is\n#### 1234 in 5 days", "1234"),
        ("1234 in 5 days", "1234"),
        ("#### 1234", "1,234"),
        ("#### 18 dollars.", "18"),
        ("#### €2,000,000", "2000000"),
        ("#### 1 234", "1234"),
        ("#### 1\u202f234", "1234"),
        ("They pay $1,080.", "1080"),
        ("#### 25%", "25"),
        ("#### 0", "0"),
        ("#### -5", "-5"),
        ("#### −$5", "-5"),
        ("####18", "18"),
        ("####\n18", "18"),
        ("#### <18>", "18"),
        # LaTeX
        (r"\boxed{1{,}234}", "1234"),
        (r"$$\boxed{\$1\,234}$$", "1234"),
        (r"The total is $\boxed{\text{18 eggs}}$.", "18"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{25\%}", "25"),
        (r"\boxed{18", "18"),
        # wording
        ("The answer is **18** dollars. She has 3 hens.", "18"),
        ("The final answer is:\n\n$18$", "18"),
        ("The answer is 12 + 6 = 18 eggs", "18"),
        ("**Final Answer:** $x = 18$", "18"),
        ("答案是18元。她有3只鸡。", "18"),
        ("**答案：** １８", "18"),
        ("答：18元，其中5元是运费。", "18"),
        ("答案是 1.2万元", "12000"),
        ("一共 3 亿", "300000000"),
        # text after the number explains it; working ends in its result
        ("Answer: 18. She sells 9 eggs for $2 each = $18, and there are 7 days.", "18"),
        ("#### 18. Janet makes 18 dollars in 1 day", "18"),
        ("#### 18. Janet makes 18 dollars.\nThat is her income.", "18"),
        ("#### 18 = 9*2", "18"),
        (r"\boxed{18 = 9 \times 2}", "18"),
        (r"\boxed{9 \times 2 = 18}", "18"),
        ("The answer is 18 because 9 + 9 = 18 and 18 / 2 = 9", "18"),
        ("The answer is therefore 18, as 3 * 6 = 18 and 6 = 2 * 3", "18"),
        ("答案是18，因为9*2=18，3+4=7", "18"),
        ("答案是12元+6元=18元", "18"),
        ("#### x = 9 * 2 = 18", "18"),
        ("The answer is 12 eggs + 6 eggs = 18 eggs", "18"),
        ("The answer is 12x = 216, x = 18", "18"),
        ("#### 50% of 36 = 18", "18"),
        ("#### 36 / 2 = 18", "18"),
        # more notations
        (r"\dfrac34", "0.75"),
        (r"\boxed{\frac{3}4}", "0.75"),
        ("#### - 5", "-5"),
        ("The answer is:\n- 18 eggs", "18"),
        ("1e3", "1000"),
        ("#### 1.5E+3", "1500"),
        # the last marker wins; headings and empty markers do not count
        ("#### 17\nWait.\n#### 18", "18"),
        (r"The answer is 17. Recheck: \boxed{18}", "18"),
        ("#### Step 2: add\n16 + 2 = 18", "18"),
        ("#### 2. Add them\n16 + 2 = 18", "18"),
        ("It is 18, as in\n#### <number>", "18"),
        ("The answer is not 17 but 18", "18"),
        # no marker: the last number
        ("First 5, then 13, so 18.", "18"),
        ("She needs 3 1/2 hours", "3.5"),
        ("about 3/4 of it", "0.75"),
        ("pages 17-18", "18"),
        ("The area is 18 m^2", "18"),
        (r"So the area is $18 \text{ cm}^{2}$.", "18"),
        ("<think>17? #### 17</think>It is 18.", "18"),
        ("it must be 17 </think>\n#### 18", "18"),
    ],
)
def test_notations_of_the_right_number_are_correct(response: str, reference: str) -> None:
    grade = math.grade(response, reference)
    assert (grade.score, grade.status) == (1.0, "correct"), grade


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("#### 1,235", "1234"),
        ("#### 5\nShe has 18 eggs", "18"),
        ("#### 18.5", "18"),
        ("#### -18", "18"),
        ("18 and 5", "18"),
        ("#### 7 - 7 = 0", "7"),
    ],
)
def test_another_number_is_wrong(response: str, reference: str) -> None:
    grade = math.grade(response, reference)
    assert (grade.score, grade.status) == (0.0, "wrong"), grade


@pytest.mark.parametrize(
    ("response", "finish_reason", "status"),
    [
        ("<think>2 + 2 = 4\n#### 4", "stop", "truncated"),
        ("#### 4", "length", "truncated"),
        ("<think>a</think><think>#### 4", "stop", "truncated"),
        ("", "stop", "no_answer"),
        ("I do not know.", "stop", "no_answer"),
        ("It is 4/0.", "stop", "no_answer"),
        ("<think>4</think>", "stop", "no_answer"),
    ],
)
def test_cut_and_missing_answers_have_their_own_status(response: str, finish_reason: str, status: str) -> None:
    grade = math.grade(response, "4", finish_reason=finish_reason)
    assert (grade.score, grade.status, grade.extracted) == (0.0, status, None)
    assert status in math.STATUSES


def test_a_reference_may_be_a_whole_solution_and_must_hold_a_number() -> None:
    assert math.grade("#### 72", "48 + 24 = 72\n#### 72").score == 1
    with pytest.raises(ValueError, match="no number"):
        math.grade("#### 72", "unknown")


@pytest.mark.parametrize(
    ("response", "gold", "strict", "flexible"),
    [
        ("so\n#### 18", "18", True, True),
        ("so\n#### 1,234", "1234", True, True),
        ("so\n#### 18.", "18", True, True),
        ("so\n#### $18", "18", False, True),
        ("#### 18\n#### 19", "18", True, False),  # strict takes the first, flexible the last
        ("It is 18.", "18", False, True),
        ("It is 18.00", "18", False, False),
        ("18 in 5 days", "18", False, False),
        ("####18", "18", False, True),
        ("none", "18", False, False),
    ],
)
def test_harness_verdicts_are_kept_beside_ours(response: str, gold: str, strict: bool, flexible: bool) -> None:
    assert math.grade(response, gold).details == {"strict_match": strict, "flexible_extract": flexible}


def write_gsm8k(folder: Path, split: str, lines: list[str]) -> None:
    (folder / "gsm8k").mkdir(exist_ok=True)
    (folder / "gsm8k" / f"{split}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def rows(number: int) -> list[str]:
    problems = [{"question": f"What is {i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1:,}"} for i in range(number)]
    return [json.dumps(problem) for problem in problems]


def config(folder: Path, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig(data_dir=folder, **fields)


def test_gsm8k_items_come_from_the_split_of_their_name(tmp_path: Path) -> None:
    write_gsm8k(tmp_path, "train", rows(1500))
    write_gsm8k(tmp_path, "test", rows(8))
    settings = config(tmp_path, math_train_size=1500, math_eval_size=4)
    train, evaluation = math.train_items(settings), math.eval_items(settings)
    assert len({item["id"] for item in train}) == 1500
    assert len(evaluation) == 4
    assert all(item["id"].startswith("gsm8k-test-") for item in evaluation)
    item = next(item for item in train if item["meta"]["problem"] == "What is 1233 + 1?")
    assert item["reference"] == "1234"
    assert item["messages"][0]["content"].endswith("What is 1233 + 1?")
    assert math.grade_item(item, item["meta"]["solution"]).score == 1
    assert math.train_items(settings) == train
    assert math.eval_items(settings.model_copy(update={"seed": 1})) != evaluation


def test_gsm8k_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    write_gsm8k(tmp_path, "test", rows(3))
    file = tmp_path / "gsm8k" / "test.jsonl"
    plain = math.eval_items(config(tmp_path, math_eval_size=3))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n").rstrip())
    assert math.eval_items(config(tmp_path, math_eval_size=3)) == plain


def test_more_items_than_the_source_has_is_an_error(tmp_path: Path) -> None:
    write_gsm8k(tmp_path, "test", rows(8))
    with pytest.raises(UserError, match=r"math_eval_size=9: .* 8 problems"):
        math.eval_items(config(tmp_path, math_eval_size=9))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty"),
        ([*rows(6), "{not json", *rows(2)], "line 7"),
        ([*rows(6), '{"question": "How many?"}'], "line 7: the row has no field 'answer'"),
        ([*rows(6), "", '{"answer": "#### 1"}'], "line 8: the row has no field 'question'"),
        ([*rows(6), '{"question": 5, "answer": "#### 1"}'], "line 7: the field 'question' is 5, expected text"),
        ([*rows(6), '{"question": "How many?", "answer": null}'], "line 7: the field 'answer' is None, expected text"),
        (
            [*rows(6), '{"question": "How many?", "answer": "#### many"}'],
            "line 7: the field 'answer' does not end with",
        ),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    write_gsm8k(tmp_path, "train", lines)
    with pytest.raises(UserError, match=message) as caught:
        math.train_items(config(tmp_path, math_train_size=max(1, min(7, len(lines)))))
    assert str(caught.value).startswith(f"data_dir={str(tmp_path)!r}")
    assert str(tmp_path / "gsm8k" / "train.jsonl") in str(caught.value)


def test_a_missing_file_and_an_unreachable_hub_name_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_dir=.*train\.jsonl: there is no such file.*openai/gsm8k"):
        math.train_items(config(tmp_path))

    with pytest.raises(UserError, match=r"openai/gsm8k .*HF_HUB_OFFLINE.*--data_dir .*L2S_DATA"):
        math.train_items(ExperimentConfig())


def test_synthetic_items_are_called_so_and_their_solutions_are_right() -> None:
    settings = ExperimentConfig(math_source="synthetic", math_train_size=600, math_eval_size=200)
    train, evaluation = math.train_items(settings), math.eval_items(settings)
    assert (len(train), len(evaluation)) == (600, 200)
    assert {item["source"] for item in train + evaluation} == {"synthetic"}
    for item in train + evaluation:
        grade = math.grade_item(item, item["meta"]["solution"])
        assert grade.score == 1
        assert grade.details == {"strict_match": True, "flexible_extract": True}
    assert math.train_items(settings) == train
    assert {item["meta"]["problem"] for item in math.train_items(settings.model_copy(update={"seed": 7}))} != {
        item["meta"]["problem"] for item in train
    }


def test_no_synthetic_evaluation_problem_or_person_appears_in_training_of_any_seed() -> None:
    evaluation = {problem.text for seed in range(3) for problem in word_problems.generate("eval", 400, seed=seed)}
    train = {problem.text for seed in range(3) for problem in word_problems.generate("train", 2000, seed=seed)}
    assert not evaluation & train
    assert not set(word_problems.NAMES["train"]) & set(word_problems.NAMES["eval"])


@pytest.mark.parametrize("templates", [word_problems.TEMPLATES, word_problems.ONE_STEP])
def test_the_splits_of_synthetic_problems_share_no_run_of_13_words(
    templates: tuple[word_problems.Template, ...],
) -> None:
    train, evaluation = (_items(split, templates) for split in get_args(Split))
    assert len(evaluation) == len(train)
    assert contamination.overlap(train, evaluation)["math"].ngram == []


def _items(split: Split, templates: tuple[word_problems.Template, ...]) -> list[Item]:
    texts = [
        problem.text
        for seed in range(3)
        for problem in word_problems.generate(split, 60 * len(templates), seed=seed, templates=templates)
    ]
    return [
        Item(id=text, domain="math", source="synthetic", messages=[], reference="", meta={"problem": text})
        for text in texts
    ]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_template_is_used_in_both_splits(split: word_problems.Split) -> None:
    texts = [problem.text for problem in word_problems.generate(split, 400, seed=0)]
    assert len(set(texts)) == 400
    assert len(word_problems.TEMPLATES) >= 20
    for template in word_problems.TEMPLATES:
        story = re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(template.text)))
        assert sum(story.fullmatch(text) is not None for text in texts) >= 400 // len(word_problems.TEMPLATES)


@pytest.mark.parametrize("templates", [word_problems.TEMPLATES, word_problems.ONE_STEP])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_generator_has_as_many_problems_as_it_says(
    split: word_problems.Split, templates: tuple[word_problems.Template, ...]
) -> None:
    """Of each template as many as its share, so that no draw waits for a new problem without end."""
    share = word_problems.MOST[split] / len(templates)
    people = len(word_problems.NAMES[split])
    for index, template in enumerate(templates):
        words = people * (people - 1 if "{friend}" in template.text else 1)
        words *= len(word_problems.THINGS) if "{things}" in template.text else 1
        words *= len(word_problems.PLACES) if "{place}" in template.text else 1
        ranges = [range(low, high + 1) for low, high in template.numbers.values()]
        drawn = (dict(zip(template.numbers, values, strict=True)) for values in product(*ranges))
        fitting = (
            1 for numbers in drawn
            if word_problems._belongs_to(index, numbers) == split and word_problems._work(template, numbers)
        )  # fmt: skip
        assert sum(islice(fitting, ceil(share / words))) * words >= share, template.text


@pytest.mark.parametrize(
    ("field", "most"), [("math_train_size", 250_000), ("math_eval_size", 25_000)], ids=["train", "eval"]
)
def test_more_problems_than_the_generator_has_are_refused(field: str, most: int) -> None:
    fields = {"math_source": "synthetic", field: most}
    math.check(ExperimentConfig(**fields), ["math"])
    beyond = fields | {field: most + 1}
    with pytest.raises(UserError, match=rf"^{field}={most + 1}: math_source='synthetic' has {most} .* ask for at most"):
        math.check(ExperimentConfig(**beyond), ["math"])
    math.check(ExperimentConfig(**(beyond | {"domains": "code"})), ["math"])
    math.check(ExperimentConfig(**(beyond | {"math_source": "gsm8k"})), ["math"])


DATA = os.environ.get("L2S_TEST_DATA")


@pytest.mark.skipif(DATA is None, reason="L2S_TEST_DATA is not set: no copy of GSM8K to read")
def test_every_gsm8k_solution_is_correct_by_all_three_verdicts() -> None:
    assert DATA is not None
    settings = config(Path(DATA), math_train_size=7473, math_eval_size=1319)
    for item in math.train_items(settings) + math.eval_items(settings):
        grade = math.grade_item(item, item["meta"]["solution"])
        assert grade.score == 1
        assert grade.details == {"strict_match": True, "flexible_extract": True}, item["id"]


def test_one_step_problems_have_one_step_small_numbers_and_separate_splits() -> None:
    parts = {
        split: word_problems.generate(split, 200, seed=3, templates=word_problems.ONE_STEP)
        for split in ("train", "eval")
    }
    for problems in parts.values():
        assert all(problem.solution.count("\n") == 1 for problem in problems)
        assert all(int(number) <= 18 for problem in problems for number in re.findall(r"\d+", problem.text))
    assert not {problem.text for problem in parts["train"]} & {problem.text for problem in parts["eval"]}
