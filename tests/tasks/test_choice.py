"""Which letter of an answer counts; each list holds forms of one kind, and `◯` in them stands for the letter."""

from __future__ import annotations

import time

import pytest

from l2s.tasks.own.choice import LETTERS, chosen_letter

LABELS = [
    "**Answer**: ◯", "**Answer** : ◯", "**Correct Answer**: ◯", "***Final answer:*** ◯", "__Answer__: ◯", "*Answer*: ◯",
    "> **Answer:** ◯", "- **Correct option**: (◯)", "<b>Answer</b>: ◯", "| Answer | ◯ |", "`Answer: ◯`", "Ans: ◯",
    "Ans. ◯", "Ans - ◯", "Answer - ◯", "Answer (◯)", "The correct answer → ◯", "Solution: ◯", "Correct: ◯",
    "### Answer\n◯", "## Final answer\n\n◯) Rome", "#### ◯", "<answer>◯</answer>", "<answer>\n◯\n</answer>",
    '{"answer": "◯"}', '{"final_answer": "◯"}', "<final_answer>◯</final_answer>",
    '```json\n{"choice": "◯"}\n```', "\\boxed{\\mathbf{◯}}", "$\\boxed{\\textbf{(◯)}\\ 12}$",
    "\\boxed{\\text{Option ◯}}", "\\fbox{◯}", "Answer: $\\mathrm{◯}$",
    "**答案**：◯", "**正确答案**: ◯", "【答案】◯", "【正确答案】◯", "【答案】：◯", "参考答案：◯", "答：◯。",
    "答：选◯。",
]  # fmt: skip
STATEMENTS = [
    "The answer must be ◯.", "The answer is clearly ◯.", "The answer is most likely ◯.", "The answer has to be ◯.",
    "The answer is therefore ◯.", "The answer is obviously option ◯.", "The correct answer here is ◯.",
    "The answer to this question is ◯.", "The correct answer turns out to be ◯.", "So the correct statement is ◯.",
    "◯ is the answer.", "Option ◯ is the answer.", "(◯) is the correct choice.", "That makes ◯ the correct answer.",
    "It's ◯.", "It is ◯.", "It must be ◯.", "So: ◯", "Hence ◯.", "Thus, (◯).", "=> ◯", "I'd go with ◯.",
    "I'm going with ◯.", "I'd say ◯.", "I would guess ◯.", "◯ – Rome", "**◯ — Rome**", "Answer – ◯",
    "◯ because it is so.", "◯因为它最大。", "◯ (Rome) is correct.",
    "Option ◯ (Rome, since 1871) is the correct answer.",
    "综上，◯选项符合题意。", "Therefore, **◯) Rome** is the answer.", "Option ◯", "Choice ◯", "◯ - Rome",
    "The capital is Rome, so the answer is Rome (option ◯).",
    "答案就是◯", "答案应当是◯", "所以正确答案就是◯。", "正确答案显然是◯。", "答案就是选项◯。", "选项◯是正确答案",
    "◯选项正确",
    "◯项正确。", "◯是正确的。", "所以选项◯是对的。", "综上，选项◯正确。", "本题选择◯选项。", "所以是◯。", "因此◯。",
    "因此，◯",
    "◯ is the most suitable option.", "That leaves ◯.", "答案毫无疑问是◯。",
    "我认为是◯", "正确的是◯", "由此可知◯正确", "选项◯", "◯。罗马",
]  # fmt: skip
EXPLANATIONS = [
    "\n\n**Explanation**:\nA. London is in England.",
    "\n\n**Explanation**: London (A) is in England.",
    "\n\nOption A is the right choice only for England.",
    "\nA is the right one if the question is about Italy.",
    "\n\nExplanation: Option A is right only if it rains.",
    "\nA would be right in Italy. So A is correct there.",
    "\n\n解析：选A的同学忽略了人口。",
    "\n【解析】A是正确的说法，故不选。",
]
FIRST_LINES = ["◯", "◯.", "**◯**", "(◯)"]
# "C" is the answer; A is said of another case, denied, or taken back.
OTHERS = [
    "故选 C。如果选A，则人口不对。", "我选择C，如果选A就错了。",
    "C is right. Though some may say A is right, it isn't.",
    "I'd say the answer is C. (If the question asked for England, the answer would be A.)",
    "I'd select option C because Option A is the best when it rains.",
    "C. Rome\n\nA. is wrong.\nB. is wrong.", "(C) Rome\n\nA) Paris is in France.\nB) London is in England.",
    "The answer is not A but C.", "The answer isn't A, it's C.", "A is not the answer. C is the answer.",
    "Not A, but C.",
    "答案不是A，而是C。", "不能选A，应该选C。", "A、B、D错误，C正确。", "选项C正确，选项A错误。",
    "A: wrong\nB: wrong\nC: right\nD: wrong\nSo C.", "A. London\nB. Paris\nC. Rome\n\nTherefore, C.",
    "Answer: A\n\nWait, let me check again. It should be C.", "Answer: A. No, sorry: Answer: C",
    "答案：A。等等，不对，应该选C。", "If 2 + 2 = 4, the answer is C.", "Answer: C, A is wrong.",
    "A. London ❌\nB. Paris ❌\nC. Rome ✅\nD. Berlin ❌",
    "A. London - Incorrect\nB. Paris - incorrect\nC. Rome - Correct",
    "A. 伦敦：不正确\nB. 巴黎：错误\nC. 罗马：正确。", "A) London (incorrect)\nB) Paris (incorrect)\nC) Rome (correct)",
    "A. London ✅\nB. Paris\n\nAnswer: C", "只有C符合题意，A不符合题意。",
]  # fmt: skip
NO_CHOICE = [
    "Answer: A city in Italy", "#### A city", "So a city is meant.", "It's a city.", "A good choice", "答：A市和B市",
    "答案：A、C", "A和C正确。", "A and C are correct.", "**Answer**: A or C", "Answer: Bonn", "Do not choose A.",
    "A. London\nB. Paris\nC. Rome", "A – London\nB – Paris\nC – Rome", "A. London ✅\nB. Paris ✅\nC. Rome ❌",
    "A. London ❌\nB. Paris ❌", "Option A (London) is incorrect.", "Some would say A.", "I'd say A city is meant.",
    "A不符合题意。",
]  # fmt: skip


def filled(form: str, letter: str) -> str:
    """The form with its letter."""
    return form.replace("◯", letter)


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("form", [*LABELS, *STATEMENTS])
def test_a_letter_is_read_however_it_is_stated(form: str, letter: str) -> None:
    assert chosen_letter(filled(form, letter)) == letter


@pytest.mark.parametrize("explanation", EXPLANATIONS)
def test_an_explanation_does_not_change_a_labelled_choice(explanation: str) -> None:
    for form in (*LABELS, *FIRST_LINES):
        answer = filled(form, "C") + explanation
        assert chosen_letter(answer) == "C", answer


@pytest.mark.parametrize("answer", OTHERS)
def test_a_letter_of_another_case_is_not_the_choice(answer: str) -> None:
    assert chosen_letter(answer) == "C"


@pytest.mark.parametrize("answer", NO_CHOICE)
def test_an_article_a_list_and_a_denied_letter_choose_nothing(answer: str) -> None:
    assert chosen_letter(answer) is None


@pytest.mark.parametrize("unit", [" ", "answer ", "answer is aly", "alyaly", "( ", "A, ", "选", "答案", "is it ", "[["])
def test_an_answer_that_repeats_itself_is_read_in_time(unit: str) -> None:
    """A pattern that takes exponential time on one of these would not return."""
    start = time.monotonic()
    for begin in ("", "Answer: ", "B"):
        chosen_letter(begin + unit * (4000 // len(unit)) + "x")
    assert time.monotonic() - start < 60
