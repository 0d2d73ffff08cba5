"""The grader `json`: which JSON of an answer counts, and what is no JSON."""

from __future__ import annotations

import pytest

from l2s.config import ExperimentConfig
from l2s.tasks.own.graders import GRADERS, grade
from l2s.tasks.types import Item

RIGHT = [
    '{"a": 1}', '{"a":1}', '{ "a" : 1.0 }', '{"a": 1e0}', '{"\\u0061": 1}', '\ufeff{"a": 1}', 'The answer is {"a": 1}.',
    'Answer: {"a": 1}', 'JSON: {"a": 1}', 'The answer is `{"a": 1}`.', '**{"a": 1}**', 'Here: {"a": 1} as you asked',
    'result = {"a": 1};', '<answer>{"a": 1}</answer>', '答案是{"a": 1}。', '答案：{"a": 1}', '{"a": 1} as in [1].',
    '```json\n{"a": 1}\n```', '```json {"a": 1}```', '````markdown\n```json\n{"a": 1}\n```\n````',
    '> ```json\n> {"a": 1}\n> ```',
    # the last one counts
    '{"a": 2}\n{"a": 1}', 'First {"a": 2}, then finally {"a": 1}', 'For example {"b": 3}. The answer is {"a": 1}.',
    'Draft:\n{"a": 2}\nFinal answer: {"a": 1}', '{"a": 2} is wrong. So {"a": 1}',
    # what is no JSON is passed over
    'The answer is {"a": 1}. (Format: {"a": number})', 'Of the set {x, y}: {"a": 1}', "Not {'a': 2}, but {\"a\": 1}",
    '{"a": 1} or {"a": 1.0}\n\n{"a": 1}',
]  # fmt: skip
WRONG = [
    '{"a": "1"}', '{"a": true}', '{"a": null}', '{"A": 1}', '{"a": [1]}', '[{"a": 1}]', '{"result": {"a": 1}}',
    '{"a": 1, "b": 2}',
    'It is {"result": {"a": 1}}.', 'It is [{"a": 1}].', '{"a": 1}\n{"a": 2}', 'First {"a": 1}, then finally {"a": 2}',
    'The answer is\n{"a": 1}\nNo, it is {"a": 2}.',
    # one of two
    '{"a": 1} or {"a": 2}', '{"a": 2} or {"a": 1}', '{"a": 2}\nor\n{"a": 1}', '`{"a": 2}` 或 `{"a": 1}`',
    '{"a": 1, "a": 2}', '{"a": 2, "a": 1}',
    # no JSON, alone or in a line, and nothing inside it counts
    '{"a": 1,}', '{"a": 1 // one\n}', '{"a": 1 /* one */}', "{'a': 1}", "{a: 1}", '{"a": 01}', '{"a": +1}',
    '{"a": NaN}', '{"a": 1',
    '{“a”: 1}', '{"a"：1}', 'It is {"a": 1,}.', 'It is {"b": {"a": 1},}.', "It is {'b': {\"a\": 1}}.",
    'It is {"b": {"a": 1}',
    'It is {b: {"a": 1}}.', 'It is [{"a": 1},].',
]  # fmt: skip


def is_right(answer: str, reference: object) -> bool:
    item = Item(
        id="a",
        domain="own",
        source="own",
        messages=[{"role": "user", "content": "?"}],
        reference=GRADERS["json"].reference(reference),
        meta={"problem": "?", "row": {}},
    )
    found = grade(item, answer, "stop", ExperimentConfig(own_grader="json"))
    assert found is not None
    return found.score == 1


@pytest.mark.parametrize("answer", RIGHT)
def test_the_last_json_of_an_answer_counts(answer: str) -> None:
    assert is_right(answer, {"a": 1})


@pytest.mark.parametrize("answer", WRONG)
def test_other_json_and_what_is_nearly_json_is_wrong(answer: str) -> None:
    assert not is_right(answer, {"a": 1})


def test_an_array_in_a_line_counts_and_a_source_does_not() -> None:
    assert is_right("The answer is [1, 2].", [1, 2])
    assert is_right("[1, 2]\nas [3] says", [1, 2])
    assert not is_right("The answer is [2, 1].", [1, 2])
    assert not is_right("The answer is [1, 2] or [2, 1].", [1, 2])


def test_a_reference_with_a_key_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a key occurs twice"):
        GRADERS["json"].reference('{"a": 1, "a": 2}')


@pytest.mark.parametrize("unit", ["{", "[", '{"a":', "{}", '"{', "{'", '{"a": 1} or '])
def test_an_answer_that_repeats_itself_is_read(unit: str) -> None:
    assert not is_right("It is " + unit * 20_000, {"a": 1})
