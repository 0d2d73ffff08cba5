"""Numbers in words, and numbers whose groups of digits stand apart, in the answers of a chat model."""

from __future__ import annotations

from decimal import Decimal

import pytest

from l2s.tasks.final_number import final_number
from l2s.tasks.number_words import in_digits

WORDS = {
    "eighteen": "18", "Twenty Five dollars": "25 dollars", "twenty-five": "25", "zero": "0", "a hundred": "100",
    "one hundred and twenty": "120", "a hundred and one": "101", "twelve hundred": "1200", "a dozen eggs": "12 eggs",
    "two dozen": "24", "two thousand five hundred": "2500", "two thousand and five": "2005", "a thousand": "1000",
    "one hundred twenty-three thousand, four hundred and five": "123405", "one million": "1000000",
    "one and a half hours": "1 and a half hours", "two and three": "2 and 3", "one, two or three": "1, 2 or 3",
    "二十": "20", "十八": "18", "十": "10", "一百二十三": "123", "两千零五": "2005", "三万五千": "35000",
    "一亿": "100000000", "一万二": "12000", "三百五": "350", "三百零五": "305", "二十五元": "25元",
    "零": "0", "一个": "1个",
}  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_words_are_digits(words: str) -> None:
    assert in_digits(words) == WORDS[words]


@pytest.mark.parametrize(
    "words",
    [
        "one of them", "one half", "two thirds", "twenty-first", "ten-year-old", "nineteen eighty-four", "a cat",
        "twenty thirty", "two thousand five thousand", "someone", "none", "stone", "freight",
        "一样", "三角形", "两者", "一二三", "万一",
    ],
)  # fmt: skip
def test_other_words_stay(words: str) -> None:
    assert in_digits(words) == words


READ = {
    "The answer is eighteen.": 18,
    "The answer is **Twenty Four** apples.": 24,
    "The answer is about twenty-five dollars.": 25,
    "The answer is negative five.": -5,
    "The answer is twenty dollars and fifty cents.": Decimal("20.5"),
    "So the answer is ten plus eight = eighteen.": 18,
    "Answer: eighteen, since nine plus nine is eighteen": 18,
    "#### eighteen": 18,
    r"\boxed{eighteen}": 18,
    "答案是十八。": 18,
    "答案：二十五元": 25,
    "答案是负五": -5,
    "Three friends share 18 apples and one eats two. The answer is 6.": 6,
    "The answer is one of the friends, who has 7 apples.": 7,
    "The answer is two and a half hours, 2 and a half.": Decimal("2.5"),
    "The answer is one and a half hours.": Decimal("1.5"),
    "She needs 2 and a half cups.": Decimal("2.5"),
    "Answer: Two trains leave the station at the same time.\nEach goes 60 miles, so they are 120 miles apart.": 120,
    "Answer: Three friends split the bill.\nThe bill is 30, so each pays 10.": 10,
    "答案：两列火车相向而行。\n一共行驶了120公里。": 120,
    "#### Two trains\nThey are 120 miles apart.": 120,
    "#### One Day Later\nShe has 7 eggs.": 7,
    "The answer is sixty miles per hour.": 60,
    "答案是两个小时": 2,
    "Total: 1 250 000": 1_250_000,
    "**80 000**": 80_000,
    "1 000 + 500 = 1 500": 1500,
    "2 * 1 000 = 2 000": 2000,
    "He pays $1 200.50 in all": Decimal("1200.5"),
    "They need 12 500 ml bottles": 500,  # twelve of them
    "He has 3 100 dollar bills": 100,
}
OPEN = [
    "The answer is eighteen or nineteen.",
    "The answer is two to three hours.",
    "The answer is one of them.",
    "The answer is one half.",
    "答案是一样多",
]


@pytest.mark.parametrize("text", READ)
def test_the_number_of_an_answer(text: str) -> None:
    assert final_number(text) == READ[text]


@pytest.mark.parametrize("text", OPEN)
def test_words_that_give_no_one_number(text: str) -> None:
    assert final_number(text) is None
