"""Which number of an answer counts, and how it may be written; each list holds examples of one kind."""

from __future__ import annotations

from decimal import Decimal

import pytest

from l2s.tasks.final_number import final_number

DASHES = "‐‑‒–—―−﹘﹣－"  # U+2010 to U+2015, minus, small and full-width forms

MARKERS_BY_RANK = [
    ("#### 18\nNote: the answer is rounded to 2 decimal places.", "18"),
    ("#### 18\nThe answer is given for 7 days.", "18"),
    ("#### 18\nActually, the answer is given for 7 days.", "18"),
    ("\\boxed{18}\nThe answer is in dollars, with 2 cents to spare.", "18"),
    ("**Step 1:** The answer takes 3 steps.\n#### 18", "18"),
    ("The answer is 7.\n#### 18", "18"),
    ("#### 18\nThe answer is 7.", "18"),
    ("\\boxed{9} eggs, and then \\boxed{18} dollars", "18"),
    ("\\boxed{9}\n#### 18", "18"),
    ("Answer: 18\nNote: the answer is rounded to 2 decimal places.", "18"),
    ("<answer>18</answer> in 3 steps", "18"),
    ('{"answer": 18, "steps": 3}', "18"),
    ("**Answer**: 18\n3 steps", "18"),
    ("__Answer:__ 18\n3 steps", "18"),
    ("### Final Answer\n18\n\n(3 steps)", "18"),
    ("**Final Answer**\n\n$18$\n\nin 3 steps", "18"),
    ("Ans: 18 (3 steps)", "18"),
    ("The correct answer should be 18, in 3 steps", "18"),
    ("The answer to the question is 18 in 3 steps", "18"),
    ("The answer (in dollars) is 18 in 3 steps", "18"),
    ("The answer, then, is 18 in 3 steps", "18"),
    ("The answer isn't 17, it is 18", "18"),
    ("\\boxed 5", "5"),
    ("\\fbox{18} in 3 steps", "18"),
    ('{"final_answer": 18, "steps": 3}', "18"),
    ('{"finalAnswer": 18, "steps": 3}', "18"),
    ('{"answers_seen": 18, "count": 3}', "3"),
    ("<final_answer>18</final_answer>\n(3 steps)", "18"),
    ("Final Answer: approximately $18 per day, from 9 eggs", "18"),
    ("Answer: about 18 miles in 3 hours", "18"),
    ("Answer: Janet has 16 eggs and eats 7, so she makes 9 * 2 = 18", "18"),
    ("\\boxed{\n18 \\text{ dollars}\n}\nShe sells 9 eggs.", "18"),
    ("\\boxed{18\nSo 5 remain.", "18"),
    ("\\boxed{18\n\\boxed{5}", "5"),
]
NOTES_WITHOUT_MARKER = [
    ("She makes $18.\n\nNote: this assumes 7 days.", "18"),
    ("So 18.50, rounded to 2 decimal places.", "18.5"),
    ("So it is 20, rounded to the nearest 10.", "20"),
    ("一共18元。\n注意：这里按7天计算", "18"),
    ("She makes $18.\n\nNote that she eats 3 eggs and bakes with 4.", "18"),
    ("She makes $18.\n\n**Note:**\n- 3 eggs are eaten\n- 4 are baked", "18"),
    ("She makes 2 a day.\nNote: a week has 7 days.\nSo she makes 14 a week.", "14"),
    ("She makes 2 a day.\n\nNote that a week has 7 days.\n\n2 * 7 = 14", "14"),
]
NEXT_QUESTIONS = [
    ("#### 18\n\nQuestion: Tom has 3 apples and 4 pears. How many?\nHe has 7.\n#### 7", "18"),
    ("#### 18\n\nQ: Tom has 3.\nA: #### 7", "18"),
    ("#### 18\n### Question\nTom has 3.\n#### 7", "18"),
    ("#### 18\n\nHuman: Tom has 3.\n\nAssistant: #### 7", "18"),
    ("#### 18\nUser: and now?\n#### 7", "18"),
    ("#### 18<|im_end|>\n<|im_start|>user\nTom has 3.<|im_end|>\n#### 7", "18"),
    ("#### 18</s>[INST] Tom has 3. [/INST]\n#### 7", "18"),
    ("#### 18\n\n**Question:** Tom has 3.\n#### 7", "18"),
    ("#### 18\n\n**Problem 2:** Tom has 3.\n#### 7", "18"),
    ("#### 18\n\nExercise 3. Tom has 3.\n#### 7", "18"),
    ("#### 18\n\nQuestion 2\nTom has 3.\n#### 7", "18"),
    ("#### 18\n\n### Instruction:\nTom has 3.\n#### 7", "18"),
    ("#### 18\n\nTom has 3 apples and buys 4. How many does he have?\n3+4=7\n#### 7", "18"),
    ("#### 18\n\nHere is another problem:\nTom has 3.\n#### 7", "18"),
    ("#### 18\n\nSolve the following problem step by step. Tom has 3.\n#### 7", "18"),
    ("#### 18\n\n问题：小明有3个苹果\n#### 7", "18"),
    ("#### 18\n\n题目：小明有3个苹果\n答案：7", "18"),
    ("#### 18\n\n小明有3个苹果，又买了4个，一共有多少个？\n#### 7", "18"),
    ("The answer is 18.\n\nQ: There are 7 trees.\nA: The answer is 7.", "18"),
    ("\\boxed{18}\n\nProblem: Tom has 3.\n\\boxed{7}", "18"),
    ("Question: Janet has 16 eggs\nAnswer: 18\n\nQuestion: Tom has 3\nAnswer: 7", "18"),
    # not a further question: a restated one, the steps of one solution, a question to oneself
    ("Problem: Janet has 16 eggs.\nSolution: 9 * 2 = 18", "18"),
    ("Question 1: How many eggs? Answer: 9\nQuestion 2: How much money? Answer: 18", "18"),
    ("#### 17\nIs that right? How much did she eat? Wait, 3.\n#### 18", "18"),
    ("#### 18\n\nHow did we get this? 9 * 2 = 18", "18"),
    ("First, 16 - 3 = 13. Next problem: he eats 4, so 9.", "9"),
]
CORRECTIONS = [
    ("#### 12\nwait\n#### 34", "34"),
    ("#### 12, wait, #### 34", "34"),
    ("#### 17\nActually, that is wrong.\n#### 18", "18"),
    ("\\boxed{17}\n\nWait, I made a mistake. The answer is 18.", "18"),
    ("The answer is 9.\n\nHold on, let me re-check: 9 * 2 = 18. So the answer is 18.", "18"),
    ("The answer is 9. Sorry, the answer is 18.", "18"),
    ("答案是9。等等，不对，答案是18。", "18"),
    ("#### ~~17~~ 18", "18"),
    ("#### 18\n\nLet me check: 9 * 2 = 18, and 16 - 7 = 9.", "18"),
]
EQUALITIES = [
    ("The final answer is 2 hours = 120 minutes.", "120"),
    ("#### 1 hour and 30 minutes = 90 minutes", "90"),
    ("\\boxed{2\\text{ hours} = 120\\text{ minutes}}", "120"),
    ("答案是2小时=120分钟", "120"),
    ("The answer is 3 apples for 2 dollars each = 6 dollars", "6"),
    ("The answer is 17.99 ≈ 18", "18"),
    ("The answer is $0.5 = 50%$", "50"),
    ("#### 2 hours (120 minutes)", "2"),  # text in brackets explains
    ("The answer is 18 = 9 * 2", "18"),
    ("#### 20 - 2 = 18 = 9 * 2", "18"),
    ("The answer is 9*2 = 18, since 18 / 2 = 9", "18"),
    ("The answer is 9 times 2, which is 18", "18"),
    ("The answer is 3 more than 15 = 18", "18"),
    ("#### 18 = x", "18"),
    ("The answer is 18.5, rounded up to 19 boxes.", "19"),
    ("The answer is 18.6, which rounds to 19.", "19"),
    ("The answer is 18.5 → 19 boxes.", "19"),
    ("答案是18.6，四舍五入为19。", "19"),
    ("The answer is 18, rounded to 2 places.", "18"),
    ("Answer: 18 (rounded to 2 decimal places)", "18"),
]
RANGES_AND_SUBTRACTIONS = [
    ("pages 3–5", "5"),
    ("pages 3 – 5", "5"),
    ("between 3 –5", "5"),
    ("$3–$5", "5"),
    ("3%–5%", "5"),
    ("10 minus 5", "5"),
    ("3 - 5 = -2", "-2"),
    ("eggs—18", "18"),
    ("(−5)", "-5"),
]
NOTATIONS = [
    ("#### negative 5", "-5"),
    ("#### minus 5", "-5"),
    ("答案是负5", "-5"),
    ("#### +18", "18"),
    # characters
    ("#### ＄１，２３４．５０", "1234.5"),
    ("＃＃＃＃ １８", "18"),
    ("#### 1\u200b8\ufeff", "18"),
    ("#### 3½", "3.5"),
    ("#### ½", "0.5"),
    # separators of other countries
    ("#### 1.234.567", "1234567"),
    ("#### 1.234,56", "1234.56"),
    ("#### 1'234", "1234"),
    ("#### 1’234,50", "1234.5"),
    ("#### 12,34,567", "1234567"),
    ("#### 1_234", "1234"),
    ("#### 12,50 €", "12.5"),
    ("The answer is 1 234.", "1234"),
    ("#### 5 100-dollar bills", "5"),
    ("答案是18,5元是运费", "18"),
    ("1,2,3", "3"),
    ("x=1,y=2", "2"),
    # fractions, powers of ten, scale words
    ("#### $3\\frac{1}{2}$", "3.5"),
    ("#### 3 and 1/2", "3.5"),
    ("x = -\\frac{1}{2}", "-0.5"),
    ("\\boxed{-\\dfrac{3}{4}}", "-0.75"),
    ("#### 1.2 \\times 10^3", "1200"),
    ("#### 1.2×10³", "1200"),
    ("#### 1.5 million", "1500000"),
    ("#### 5 thousand", "5000"),
    ("答案是3千元", "3000"),
    ("答案是5千克", "5"),
    ("一共3亿5000万元", "350000000"),
    ("一共1万8千元", "18000"),
    ("一共2万5000元", "25000"),
    ("2千克500", "500"),
    # times of day, a point after letters, space between lines of LaTeX
    ("She arrives at 5:00 PM.", "5"),
    ("From 9:00 to 11:00", "11"),
    ("It leaves at 5:30", "30"),
    ("He pays Rs.18", "18"),
    ("It costs $.25", "0.25"),
    ("\\begin{aligned} x &= 9 \\times 2 \\\\[4pt]\n&= 18 \\\\[6pt]\n\\end{aligned}", "18"),
    # markup
    ("\\boxed{\\text{\\textbf{18}}}", "18"),
    ("\\boxed{18\\ \\mathrm{dollars}}", "18"),
    ("\\boxed{1,\\!234}", "1234"),
    ("\\boxed{1\\text{,}234}", "1234"),
    ("$\\boxed{\\$18.00}$", "18"),
    ("#### *18*", "18"),
    ("#### __18__", "18"),
    ("#### <b>18</b>", "18"),
    ("> #### 18", "18"),
    ("2 * 3 * 3", "3"),
    ("**3** * **2** = **6**", "6"),
    ("18 cm²", "18"),
    ("#### USD 18", "18"),
    ("#### x=18", "18"),
    ("#### $18/hour", "18"),
]
SHORT_SCALES = [
    ("The answer is: 70k", "70000"),
    ("#### 1.2k", "1200"),
    ("#### 1.5M", "1500000"),
    ("#### $1.5M", "1500000"),
    ("#### $3M", "3000000"),
    ("#### $3K", "3000"),
    ("#### $2.5B", "2500000000"),
    ("#### 70K", "70000"),
    ("#### 70k dollars", "70000"),
    ("答案是70k元", "70000"),
    ("\\boxed{70k}", "70000"),
    ("\\boxed{\\$70k}", "70000"),
    ("He earns **$70k**.", "70000"),
    ("#### -70k", "-70000"),
    ("#### -$70k", "-70000"),
    ("#### $70k/year", "70000"),
    ("#### $20k + $50k = $70k", "70000"),
    ("#### 20k + 50k = 70k", "70000"),
    ("So he makes 70k a year.", "70000"),
    ("#### 1,234.5k", "1234500"),
    ("#### 5k", "5000"),
]
NO_SCALES = [
    ("#### 5 km", "5"),
    ("#### 5km", "5"),
    ("#### 5kg", "5"),
    ("#### 3M", "3"),
    ("#### 2K resolution", "2"),
    ("#### 10m", "10"),
    ("#### 10 m", "10"),
    ("#### 10M sprint", "10"),
    ("He runs a 10K race.", "10"),
    ("He saves in his 401k", "401"),
    ("5k = 50, so k = 10", "10"),
    ("The answer is 5k = 50, k = 10", "10"),
    ("#### 5kWh", "5"),
    ("#### 5MB", "5"),
    ("#### 500 MB", "500"),
    ("#### 16GB", "16"),
    ("#### 4K screens", "4"),
    ("#### 70kph", "70"),
    ("#### 12K3", "12"),
    ("2x = 36", "36"),
    ("#### 5 K", "5"),
    ("#### 300 K", "300"),
    ("3M tape costs $3", "3"),
]
TOTALS = [
    ("答：3天一共吃了24个苹果。", "24"),
    ("答：3天总共吃了24个苹果。", "24"),
    ("答案：3个班共有24人。", "24"),
    ("答：3箱一共8×3=24个。", "24"),
    ("Answer: 3 boxes hold a total of 24 apples.", "24"),
    ("答：24个苹果，共3箱。", "24"),
    ("答：24个，一共用了3步。", "24"),
    ("答：一共有24个苹果。", "24"),
    ("Answer: 24 apples in total, 3 per box", "24"),
    ("Answer: 24 total (3 per box)", "24"),
    ("Answer: 24 in total", "24"),
    ("答：24个（一共3天）", "24"),
    ("#### 3天一共24个", "24"),
    ("答案是3天一共24个，每天8个", "24"),
    ("答：3天一共花了1,234.5元。", "1234.5"),
    ("答：24天一共。", "24"),
    ("答：24人共同完成。", "24"),
    ("Answer: 24 total", "24"),
    ("Answer: 24 total, in 3 days", "24"),
]
POWERS_AND_SPACES = [
    ("#### 2**3=8", "8"),
    ("#### 2**3 = 8", "8"),
    ("#### 2 ** 3 = 8", "8"),
    ("The answer is 2**3 = 8.", "8"),
    ("\\boxed{2**3=8}", "8"),
    ("#### **8**", "8"),
    ("**3** * **2** = **6**", "6"),
    ("5 **3** apples", "3"),
    ("#### **18** 3 eggs", "18"),
    ("\\boxed{70~000}", "70000"),
    ("\\boxed{1~234~567}", "1234567"),
    ("\\boxed{25~\\text{cm}^2}", "25"),
    ("\\boxed{70~000~\\text{km}}", "70000"),
    ("\\boxed{3~5}", "3"),
]
CHINESE = [
    ("答案为18元，共3步", "18"),
    ("答案应该是18元，共3步", "18"),
    ("正确答案是：18\n共3步", "18"),
    ("最终答案：18\n共3步", "18"),
    ("最终答案\n\n18\n\n共3步", "18"),
    ("因此答案是 **18** 元，共3步", "18"),
    ("答案等于18，有3个", "18"),
    ("【答案】18元\n【解析】剩下9个，每个2元，共3步。", "18"),
    ("答：大约18元，3天花完", "18"),
    ("答：一共18元，每天3元。", "18"),
    ("答案就是 18。有3个", "18"),
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *MARKERS_BY_RANK,
        *NOTES_WITHOUT_MARKER,
        *NEXT_QUESTIONS,
        *CORRECTIONS,
        *EQUALITIES,
        *RANGES_AND_SUBTRACTIONS,
        *NOTATIONS,
        *SHORT_SCALES,
        *NO_SCALES,
        *TOTALS,
        *POWERS_AND_SPACES,
        *CHINESE,
    ],
)
def test_the_answer_is_the_number_that_a_reader_takes(text: str, number: str) -> None:
    assert final_number(text) == Decimal(number)


@pytest.mark.parametrize("dash", DASHES)
def test_every_dash_is_a_minus_before_a_number_and_none_between_two(dash: str) -> None:
    for negative in (f"#### {dash}5", f"#### {dash} 5", f"#### {dash}$5", f"The answer is {dash}5.", f"x = {dash}5"):
        assert final_number(negative) == -5, negative
    assert final_number(f"\\boxed{{{dash}5}}") == -5
    assert final_number(f"pages 3{dash}5") == 5
    assert final_number(f"It takes a{dash}5 minutes") == 5


@pytest.mark.parametrize("unit", [" ", "( ", "#### ", "abcdefgh", "小时", "\\boxed{", "*a ", "how many ", "Wait\n"])
def test_a_response_that_repeats_itself_is_read(unit: str) -> None:
    """A pattern that takes exponential time on one of these would not return."""
    assert final_number("#### 1 " + unit * (4000 // len(unit))) == 1
