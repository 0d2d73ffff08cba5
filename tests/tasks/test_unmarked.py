"""Answers without a marker: the result of a calculation, a number above its explanation, amounts in two units."""

from __future__ import annotations

import json
import os
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest

from l2s.tasks.final_number import final_number

RESULTS = [
    "The total is 2 * 9 = 18 loaves in 4 days.", "She needs 54 / 3 = 18 boxes to hold 54 eggs.",
    "9 * $2 = $18 for 9 eggs",
    "Clyde pays $10 + $8 = $18 for 5 apples and 5 oranges.", "So he needs 10 * 2 = 20 - 2 = 18 for 4 kids.",
    "She has $20 - $2 = $18 left after buying 4 pairs of socks.", "It takes 36 / 2 ≈ 18 minutes to read 2 pages.",
    "Each gets 36 / 2 = 18 pieces when 2 people share.", "每天 9 × 2 = 18 元 3 天",
    # the sentence below the calculation says it again
    "9 * 2 = 18.\nSo she makes $18 in 2 days.", "9 * 2 = 18\n\nTherefore, she sells 18 eggs over 7 days.",
    "20 - 2 = 18. There are 18 seats left after the 2nd stop.",
    "$9 × 2 = 18$. It takes her 18 minutes to read 4 pages.",
    # a further clause, an operand or another number: the last number counts, as elsewhere
    "The price is 9 * 4 = 36 dollars, and half of it is 18 dollars.", "3 * 5 = 15 apples, so with 3 more it is 18.",
    "She has 2 * 10 = 20 eggs and keeps 18.", "4 * 5 = 20 eggs. She spends 20 and keeps 18.",
    "35 / 2 = 17.5, which rounds to 18.", "35 / 2 = 17.5 bags, so she buys 18.", "7 / 3 = 2 or rather 18",
    "7 * 4 = 28 dollars.\nIn 3 weeks she earns 18 dollars.", "5 * 3 = 15 boxes would hold 18", "x = 3; y = 18",
    "36 / 2 = 18 dollars/week",
]  # fmt: skip
EXPLAINED = [
    "18\n\nExplanation: she sells 9 eggs at $2.",
    "Janet makes $18 a day.\n\n**Explanation:** 16 eggs, 3 + 4 = 7, and 9 left.",
    "**$18**\n\nReasoning:\n- 16 eggs\n- 9 sold at $2", "18 dollars\n\n### Step-by-step explanation\n\n9 eggs at $2",
    "18元\n\n解析：每个2元，卖9个", "Explanation: 16 - 7 = 9\n9 * 2 = 18", "Is it 17?\n\nExplanation: it is 18.",
    "She has 16 eggs and eats 7.\n\nExplanation: 9 are left, sold for 18.",
]  # fmt: skip
AMOUNTS = {
    "#### 18 dollars and 50 cents": "18.50", "$18 and 50 cents": "18.50",
    "She pays 1,218 dollars and 5 cents.": "1218.05",
    "一共18元5角": "18.5", "3元2角5分": "3.25", "#### $5bn": "5000000000", "It costs 5 bn dollars.": "5000000000",
    "Pens cost 20 and 50 cents": "50", "5 dollars, and 10 cents is left": "10", "2 dollars and 50 pens": "50",
    "8角": "8",
}  # fmt: skip


@pytest.mark.parametrize("text", [*RESULTS, *EXPLAINED])
def test_what_follows_a_result_only_explains_it(text: str) -> None:
    assert final_number(text) == 18


@pytest.mark.parametrize(("text", "amount"), AMOUNTS.items())
def test_two_units_of_money_are_one_amount(text: str, amount: str) -> None:
    assert final_number(text) == Decimal(amount)


@pytest.mark.parametrize("unit", ["=", "= ", "≈ ", "= 1 ", "1 = ", "=$", "\nExplanation ", "18 dollars and ", "元5角"])
def test_an_answer_that_repeats_itself_is_read_in_time(unit: str) -> None:
    """With a pattern that tries every start and end of a run of these, one of them took 20 seconds."""
    start = time.monotonic()
    final_number("5 " + unit * (4000 // len(unit)) + "x")
    assert time.monotonic() - start < 60


@pytest.mark.skipif("L2S_TEST_DATA" not in os.environ, reason="needs GSM8K: set L2S_TEST_DATA")
def test_people_s_solutions_are_read_without_their_last_line() -> None:
    """GSM8K's solutions end with "#### 18"; without this line, the number is in a sentence of the author's own."""
    files = [Path(os.environ["L2S_TEST_DATA"]) / "gsm8k" / f"{split}.jsonl" for split in ("train", "test")]
    solutions = [json.loads(line)["answer"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    parts = [re.sub(r"<<[^<>]*>>", "", solution).split("####") for solution in solutions]
    read = sum(final_number(working) == final_number(number) for working, number in parts)
    assert (read, len(parts)) == (8722, 8792)
