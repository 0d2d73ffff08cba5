"""Math: an answer that offers two different numbers gives none; other words for one quantity are no second number."""

from __future__ import annotations

from decimal import Decimal

import pytest

from l2s.tasks.final_number import final_number
from l2s.tasks.math import grade

TWO_NUMBERS = [
    "#### 17 or 18", "#### 18 or 17", "#### 18 (or 17)", "#### 17 (or 18)", "#### either 18 or 19", "#### 18 and 17",
    "#### 18, 17",
    "#### 18-19", "#### 18 to 20", "#### 100~200", "#### 3–5", "The answer is 18 or 17.",
    "The answer is either 17 or 18.",
    "The answer is 18, or possibly 17.", "The answer is 18, possibly 19.", "The answer is 18, but it could be 17.",
    "The answer is 18, but it might also be 17.", "The answer is between 17 and 18.", "The answer is from 9 to 18",
    "The answer is 17 to 18.", "Answer: x = 18 or x = -18", "\\boxed{17 \\text{ or } 18}", "\\boxed{18, 17}",
    "\\boxed{17} or \\boxed{18}", "\\boxed{18}, \\boxed{9}", "\\boxed{17} 或 \\boxed{18}",
    "She can buy 17 or 18 apples.", "#### between 17 and 18", "Answer: between 17 and 18.",
    "It lies between 17 and 18 eggs.", "答案：介于17与18之间",
    "Maybe 17, maybe 18.", "答案是17或18", "答案是18或者17", "答案：大概17或18", "答案是18，也可能是17。",
    "答：18个或17个",
    "答：18個或17個", "答案是18還是17",
]  # fmt: skip
ONE_NUMBER = [
    "#### 18 or 18.0", "#### 18 (eighteen)", "#### 18 or eighteen", "#### 18 apples or 18 pieces", "#### 18 or more",
    "#### 18 or so",
    "#### $18.00 or $18", "#### 18/1 or 36/2", "#### 18, 9 each", "#### 18 (9 or 10 eggs)",
    "#### 18. Or in words: eighteen.",
    "#### 18 (or 1.5 dozen)", "#### 18 or 0.3 hours", "The answer is 18 or 1800%",
    "The answer is 18 dollars, or 1800 cents.",
    "The answer is 18 hours or 1080 minutes.", "The answer is 18 days (or 2 weeks and 4 days).",
    "The answer is 18, or 17 if you exclude Tom.", "The answer is 18, not 17.", "The answer is 18 rather than 17.",
    "The answer isn't 17 but 18.", "The answer is 18, and 17 is wrong.", "The answer is 18 because it is 17 or 18.",
    "The answer is 18, 9 from each.", "The answer is 18 - that is 9 times 2.", "The answer is 18 dollars and 0 cents.",
    "The answer is maybe 18.", "The answer is at least 18.", "For 2 or 3 days she makes 18.", "This gives 9 + 9 or 18.",
    "She makes $9 * 2 or $18",
    "She makes 18 dollars (or 17 if it rains).",
    "Is it 17 or 18? It is 18.",
    "The difference between 20 and 2 is 18.", "Of a number between 10 and 20, she picks 18.",
    "Between 9 and 11 she sells 18.", "Either 17 or 18 works at first, but the answer is 18.",
    "She has 17 or 18 left? 9 + 9 = 18.\n#### 18", "\\boxed{18} and \\boxed{18}",
    "\\boxed{9} + \\boxed{9} = \\boxed{18}",
    "#### 17\n#### 18", "答案是18（或1.5打）", "答案為18", "答：一共18個", "答案是18，不是17。",
]  # fmt: skip


@pytest.mark.parametrize("text", TWO_NUMBERS)
def test_an_answer_with_two_numbers_gives_none(text: str) -> None:
    assert final_number(text) is None


@pytest.mark.parametrize("text", ONE_NUMBER)
def test_the_same_quantity_twice_is_one_number(text: str) -> None:
    assert final_number(text) == 18


def test_rounding_and_fractions_are_the_same_quantity() -> None:
    assert final_number("The answer is 2/3 or 0.67") == Decimal(2) / 3
    assert final_number("The answer is 18.27, or about 18") == Decimal("18.27")
    assert final_number("The answer is 1.5 hours, or 1 hour and 30 minutes") == Decimal("1.5")
    assert final_number("#### 0.5 or 50%") == Decimal("0.5")


def test_an_answer_with_two_numbers_is_not_right_for_either() -> None:
    for reference in ("17", "18"):
        assert grade("#### 17 or 18", reference).status == "no_answer"
