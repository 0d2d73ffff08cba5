"""An answer without a marker: numbers of a result count, and not those in words to its reader and explanations."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from l2s.tasks.closing import without_closing
from l2s.tasks.final_number import final_number

CLOSINGS = [
    "Let me know if you have 2 more questions",
    "let me know if you need 3 more examples!",
    "Please let me know if 1 thing is unclear.",
    "Feel free to ask 2 more questions.",
    "If you have 2 more questions, just ask.",
    "If you want 3 more examples, I can give them.",
    "If you need help with step 3, ask me.",
    "Don't hesitate to ask 5 more questions.",
    "I hope this helps with your 3 problems!",
    "Hope that helps with 2!",
    "I hope the 2 steps are clear.",
    "Would you like me to explain step 2?",
    "Do you want 3 more examples?",
    "Does step 2 make sense?",
    "Shall I show you 2 other ways?",
    "Any questions about step 1?",
    "Is there anything else, such as problem 2?",
    "Can I help you with problem 2?",
    "What else do you need for question 2?",
    "Need help with problem 2?",
    "Should I solve problem 2 for you?",
    "I am 95% confident.",
    "I'm 99% sure of this.",
    "Confidence: 95%",
    "Confidence: 0.95",
    "Confidence level: 9/10.",
    "(confidence 90%)",
    "I am 100 percent certain.",
    "My confidence is 9 out of 10.",
    "With 95% certainty.",
    "I used 3 steps.",
    "The solution took 2 steps.",
    "This solution uses 2 equations.",
    "I solved this in 3 steps.",
    "Solved in 4 steps.",
    "I checked it 2 times.",
    "Verified with 2 methods.",
    "Checked 2 times.",
    "See step 3 for details.",
    "This follows from equation 2.",
    "As shown in step 2.",
    "It was calculated using 2 formulas.",
    "Thought for 12 seconds.",
    "I can also show you 2 other ways.",
    "I'd be happy to help with 2 more problems.",
    "There are 2 other ways to solve this.",
    "I know 3 other methods.",
    "Thanks for your 2 questions!",
    "Thank you for asking 1 question.",
    "Good luck with your 5 problems!",
    "Have a great day, and see you at 8!",
    "Rate this answer from 1 to 5.",
    "You're welcome to ask 2 more.",
    "如果你还有2个问题，请告诉我。",
    "希望这3个步骤对你有帮助！",
    "需要我再讲2个例题吗？",
    "你还想看第2种方法吗？",
    "我有95%的把握。",
    "置信度：95%",
    "解答共用了3步。",
    "本题分为3个步骤。",
    "我验算了2遍。",
    "见步骤2。",
    "谢谢你的2个问题！",
    "欢迎再问2个问题。",
    "我还可以为你讲2种方法。",
    "如果有疑问，可以再问1次。",
]
RESULTS = [
    ("如果每个问题2分，9个问题共18分。", 18),
    ("如果有20个问题，答对2个，还剩18个。", 18),
    ("If you have 5 apples and eat 2, you have 3 left.", 3),
    ("If you have 20 questions and answer 2, you have 18 questions left.", 18),
    ("He takes 3 steps.", 3),
    ("He walks 36 feet in 18 steps.", 18),
    ("Do the 2 of them get 18? Yes, 18.", 18),
    ("I am 95% sure it is 18.", 18),
    ("He saves 5. Thanks to the discount, he pays 18.", 18),
    ("2 friends. Hope has 18 apples.", 18),
    ("From 3 we get 2. Please note the total is 18.", 18),
    ("Happy to help! 2 * 9 = 18.", 18),
    ("3 and 5. Feel free to check: 9 * 2 = 18.", 18),
    ("3 and 5. Feel free to check that 9 * 2 = 18.", 18),
    ("It is 18 for sure.", 18),
    ("2 of them. I am certain: 18.", 18),
    ("With 2 eggs, you need 18 more.", 18),
    ("You have 2 boxes. You get 18.", 18),
    ("She checked the oven 18 times.", 18),
    ("She has 2 dogs. The process takes 18 minutes.", 18),
    ("2 more. I have 18 more apples.", 18),
    ("2 a day. She answered 18 questions.", 18),
    ("She asks 2 questions a day, so 18 questions.", 18),
    ("There are 18 more ways.", 18),
    ("In step 2 we see that he has 18 eggs", 18),
    ("Step 3: 18", 18),
    ("I hope this helps you see it: 18", 18),
    ("2 left. How many does he have? 18", 18),
    ("如果你有20元，花了2元，还剩18元。", 18),
    ("他走了2天，一共走了18步。", 18),
    ("There is a 25% chance.", 25),
    ("25% of the class is sure, so 18 pupils are sure.", 18),
    ("She is 2 years old. I can give him 18.", 18),
    ("2 boxes. If you need 18 boxes, you pay 36.", 36),
    ("After 2 hours, she needs help from 18 people.", 18),
    ("He has 2 more. Should be 18.", 18),
    ("Is it 18?", 18),
    ("2 + 16. Is it 18?", 18),
    ("Let me know 2 things.", 2),
    ("The method has 18 steps", 18),
    ("She used 2 ways. She wrote 18 equations.", 18),
    ("From 2 to 20: he reads up to page 18", 18),
    ("4 students. We can help 18 students.", 18),
    ("She can help 3 people. They can help 18.", 18),
]
EXPLAINED = [
    # the only bold number of the last sentence, unless a result follows it
    ("9 * 2 = 18.\n\n**Answer:** Janet makes **$18** every day by selling 9 eggs.", 18),
    ("She sold **36 shirts**, 12 of them on Monday.", 36),
    ("They pay **$1,080** for 3 days.", 1080),
    ("所以她每天赚**18美元**，卖出9个蛋。", 18),
    ("It is **18**, yes **18**, for 7 days.", 18),
    ("She makes **$18** a day, so 126 dollars a week.", 126),
    ("**16** - 3 - 4 = 9", 9),
    ("He eats **3** apples, leaving 15.", 15),
    ("She keeps **4** and sells **7**.", 7),
    ("**1)** 9 eggs\n**2)** she gets 18", 18),
    ("**Step 3:** she makes 18 dollars.", 18),
    ("She could make **$18**. After the fee she keeps 9 dollars.", 9),
    # brackets and reasons
    ("Total: $18 ($12 + $6)", 18),
    ("So she earns $18 per day (9 eggs × $2).", 18),
    ("She makes $18 a day (at $2 per egg).", 18),
    ("Answer: Profit = $200 - $182 = $18 (a margin of 9%)", 18),
    ("She makes $7 (not $18).", 7),
    ("She fills 18 boxes (with 3 eggs left over).", 18),
    ("答：她每天能赚18美元（9个鸭蛋×2美元）。", 18),
    ("一共18元（其中运费5元）。", 18),
    ("She makes 18 dollars because she sells 9 eggs for 2 dollars each.", 18),
    ("She makes 18 dollars, since 9 eggs were sold.", 18),
    ("她每天赚18美元，因为卖出了9个。", 18),
    ("She sells the rest for $2 each (9 × 2 = 18).", 18),
    ("She makes 9 × 2 dollars (18).", 18),
    ("He walks 3 laps (or 18 km).", 18),
    ("He buys 3 dozen (36 eggs).", 36),
    ("一共9打（即18个）。", 18),
    ("She sells 9 eggs (for a total of $18).", 18),
    ("(Using 9 eggs) she makes 18.", 18),
    ("Because she sells 9 eggs for 2 dollars each, she makes 18 dollars.", 18),
    ("She has 9 eggs because she used 7, so she makes 18 dollars.", 18),
    ("It has been 6 years since 2010, and he is 20.", 20),
    # a last paragraph that checks the result
    ("So she makes $18.\n\n**Check:** 18 / 2 = 9, and 9 + 7 = 16. ✓", 18),
    ("She makes $18.\n\n**Verification:**\n- Sold: 16 - 7 = 9\n- Used: 3 + 4 = 7", 18),
    ("So the total is 18.\n\n### Verification\n\n9 × 2 = 18 and 18 / 9 = 2", 18),
    ("所以她每天赚18美元。\n\n验算：18÷2=9，9+3+4=16，正确。", 18),
    ("Eggs left: 16 - 7 = 9.\n\nCheck: 9 + 7 = 16 ✓\n\nMoney: 9 × 2 = 18.", 18),
    ("Eggs left: 9.\nCheck: 9 + 7 = 16\nMoney: 9 × 2 = 18", 18),
    ("Check: 3 + 4 = 7", 7),
]
ANSWERS = ["It is 18. {}", "9 * 2 = 18\n\n{}", "So she earns $18 ({})", "一共18元。{}", "It is 18 eggs! {} Bye."]


@pytest.mark.parametrize("closing", CLOSINGS)
def test_what_an_answer_says_to_its_reader_is_no_result(closing: str) -> None:
    found = {text: final_number(text.format(closing)) for text in ANSWERS}
    assert found == dict.fromkeys(ANSWERS, Decimal(18))


@pytest.mark.parametrize(("text", "number"), RESULTS)
def test_steps_questions_and_help_of_the_problem_stay(text: str, number: int) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(("text", "number"), EXPLAINED)
def test_a_number_that_only_explains_is_no_result(text: str, number: int) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(
    "unit", ["(1 ", "(1 +", "**1** ", "\n\ncheck:", "check:\n\n", "\nnote that ", "because 1", "3万5"]
)
def test_an_answer_that_repeats_itself_is_read_in_time(unit: str) -> None:
    start = time.monotonic()
    assert final_number("2 " + unit * (4000 // len(unit)) + "x") is not None
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_closing_alone_is_all_there_is_to_read(closing: str) -> None:
    assert without_closing(closing) == closing


def test_a_marker_ranks_above_whatever_follows() -> None:
    assert final_number("#### 18\nLet me know if you have 2 more questions. I am 95% sure.") == 18
    assert final_number("Let me know if the answer is 18.") == 18
