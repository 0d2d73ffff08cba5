"""Letters in tables, two letters at a time, corrections and traditional Chinese; `◯` stands for the letter."""

from __future__ import annotations

import pytest

from l2s.tasks.own.choice import chosen_letter

TABLES = [
    "| Answer | ◯ |", "|Answer|◯|", "| **Answer** | **◯** |", "| 答案 | ◯ |", "| Final answer | (◯) |",
    "> | Answer | ◯ |",
    "| The answer | is ◯ |", "| Correct answer | Rome (◯) |", "| Your answer | ◯ | correct |",
    "| Answer |\n|---|\n| ◯ |",
    "| **Answer** |\n|:---:|\n| **◯** |", "| Question | Answer |\n|---|---|\n| 1 | ◯ |",
    "| 题号 | 答案 |\n|---|---|\n| 1 | ◯ |",
    "| Answer | Reason |\n|---|---|\n| ◯ | it is Rome |",
    "| Option | City |\n|---|---|\n| A | Paris |\n| B | Rome |\n\nAnswer: ◯",
    "| A | B | C | D |\n|---|---|---|---|\n| Paris | Rome | Oslo | Bern |\n\nAnswer: ◯",
]  # fmt: skip
MARKED_ROWS = [
    "| Option | Correct? |\n|---|---|\n| A | No |\n| B | Yes |\n| C | No |",
    "| Option | Verdict |\n|---|---|\n| A | ✗ |\n| B | ✓ |\n| C | ✗ |\n| D | ✗ |",
    "| Option | City | Correct |\n|---|---|---|\n| A | Paris | no |\n| B | Rome | yes |",
    "| Option | Verdict |\n| --- | --- |\n| A | False |\n| B | True |",
    "| 选项 | 判断 |\n|---|---|\n| A | 错误 |\n| B | 正确 |\n| C | 错误 |",
]
# One verdict below another, in lists and in words; the heading "each option:" names none of them.
VERDICTS = [
    "Let's look at each option:\n\nA. Paris is in France. Incorrect.\nB. Rome is in Italy. Correct.\nC. Oslo: no.",
    "Evaluate each answer choice:\n- A: no\n- B: yes\n- C: no", "我们分析每个选项：\nA. 错误\nB. 正确\nC. 错误",
    "1. **Option A**: Paris is in France. Incorrect.\n2. **Option B**: Rome is in Italy. This is correct.",
    "A: wrong in\n  every way\nB: that is right.\nC: wrong", "A项：错误\nB项：正确\nC项：错误",
    "A选项：错误。\nB选项：正确。",
    "- **A** ❌ Paris\n- **B** ✅ Rome\n- **C** ❌ Oslo", "A: ❌ Paris\nB: ✅ Rome", "- [ ] A. Paris\n- [x] B. Rome",
    "A. Paris\n✅ B. Rome\nC. Oslo",
]  # fmt: skip
CHOSEN = [
    # an entry of a list
    "- ◯", "- ◯. Rome", "• ◯", "1. ◯", "1) ◯", "Answer:\n1. ◯", "👉 ◯", "✅ **◯**", "✅ ◯. Rome",
    "Rome is in Italy.\n\n- ◯",
    # in quotes, as JSON or code write it
    "The answer is '◯'.", "'◯' is the answer", "I choose “◯”.", "{'answer': '◯'}", '{"correct_answer": "◯"}',
    '{"selected_option": "◯", "reason": "E is wrong"}', "answer = '◯'",
    # other words
    "Result: ◯", "Selection: ◯", "Final: ◯", "I chose ◯.", "I'm choosing ◯", "I selected ◯.", "I'd opt for ◯.",
    "I think ◯.",
    "Definitely ◯.", "Probably ◯", "◯ seems correct.", "◯ appears to be the best answer.",
    "◯ would be the best answer.",
    "◯ is the most accurate.", "综上，◯为正确答案。", "◯为答案", "◯!", "◯\n\n◯", "Answer: ◯ (◯)",
    "### Correct option:\n\n◯. Rome\n\nE. is wrong",
    "Answer: <◯>", "Answer: (◯)", "Answer: [◯]", "**◯**", "**(◯)**", "选◯", "应选◯", "故选：◯．", "答案：◯", "答案为◯",
    # traditional Chinese
    "答案選◯", "選◯", "選擇◯", "正確答案是◯", "答案為◯", "應選◯", "選項◯正確", "故選（◯）。", "答案應該是◯",
    "我認為是◯", "因此◯是對的",
    # the last sentence, and what is preferred to another
    "It's between two of them. ◯.", "Rome is in Italy. ◯", "E is wrong. ◯.", "◯ rather than E.", "◯ instead of E or F",
    "◯ over E",
    "◯而不是E", "◯ not E",
    # corrections
    "Answer: E. Wait, ◯.", "Answer: E. Correction: ◯", "Answer: E. No, wait, it's ◯.", "Answer: E. Sorry, ◯.",
    "答案：E。更正：◯",
    "答案：E。不对，选◯。", "答案：E。不對，選◯。", "答案：E。不，是◯", "答案：E。等等，应该是◯",
    "Answer: ◯. Wait, is it E? No, ◯.",
    "Answer: ◯. Actually, E is wrong.",
    # of another letter it says that it is wrong
    "Answer: ◯, and E is wrong", "Answer: ◯. E and F are wrong.", "Answer: ◯, not E", "Answer: ◯ (not E)",
    "Answer: ◯ (E is wrong)",
    "Answer: ◯, although E might look right", "Answer: ◯, but E could be argued", "答案：◯，E不对", "答案：◯，E也不对",
    "◯) Rome, and E) is wrong", "◯) Salt and E. coli live there",
]  # fmt: skip
SEVERAL = [
    "◯ and E", "◯ or E", "◯, E", "◯ & E", "◯/E", "◯E", "◯、E", "◯和E", "◯或E", "Both ◯ and E", "Answer: ◯ and E",
    "Answer: ◯ or E",
    "Answer: ◯ (or E)", "Answer: ◯ E", "Answer: A ◯ C E", "◯. E.", "Answer: ◯, but E is also possible.",
    "Answer: ◯, but also E",
    "◯, maybe E", "◯ as well as E", "◯) Rome and E) Oslo", "(◯) Rome or (E) Oslo",
    "A) Paris is in France. E) Rome is in Italy.",
    "Options ◯ and E are both correct.", "The answer is either ◯ or E.", "答案：◯、E", "答案：◯E", "答案：◯或者E",
    "选◯也可能是E",
    "答案：◯，E也对", "答案：◯，不过E也可以", "| Answer | ◯ and E |",
    "| Question | Answer |\n|---|---|\n| 1 | ◯ |\n| 2 | E |",
    "| Option | Verdict |\n| --- | --- |\n| ◯ | True |\n| E | True |",
    "| Answer | Reason |\n|---|---|\n| ◯ or E | unsure |",
    "◯\nE", "1. ◯\n2. E", "I think ◯, but it could be E.", "Answer: ◯, but it might also be E",
]  # fmt: skip
# The letters of options may be written small: "(b) Rome", "b. Rome". The same letters are words and variables too.
SMALL = [
    "b) Rome", "(b) Rome", "**b) Rome**", "b. Rome", "The answer is b) Rome", "The answer is (b) Rome.",
    "Answer: b. Rome",
    "The correct option is (b) Rome because it is big", "Answer: b) Rome\n\nExplanation: a) is in France",
    "a) no\nb) yes\nc) no",
]  # fmt: skip
NO_CHOICE = [
    "a) Paris\nb) Rome", "a) and b) are wrong", "f(b) is 3", "see f(b).", "A\nB\nC\nD", "A. Paris B. Rome C. Oslo",
    "Analysis of each option:\n\nA. Paris is in France.\nB. Rome is in Italy.", "- A. Paris\n- B. Rome",
    "- [x] A\n- [x] B",
    "A: 2√2\nB: 3", "A. Not correct.\nB. Not correct.", "I wouldn't pick B", "I think B is wrong.",
    "B is most likely wrong.",
    "It's B's fault", "Student B's score", "Output: A list", "B为负数",
]  # fmt: skip


@pytest.mark.parametrize("form", [*TABLES, *CHOSEN])
def test_the_letter_is_found(form: str) -> None:
    for letter in "ABCD":
        assert chosen_letter(form.replace("◯", letter)) == letter
    assert chosen_letter(form.replace("◯", "Ｂ")) == "B"


@pytest.mark.parametrize("text", [*MARKED_ROWS, *VERDICTS])
def test_the_row_that_is_marked_as_right_counts(text: str) -> None:
    assert chosen_letter(text) == "B"


@pytest.mark.parametrize("text", SMALL)
def test_the_letter_of_an_option_may_be_small(text: str) -> None:
    assert chosen_letter(text) == "B"


@pytest.mark.parametrize("text", NO_CHOICE)
def test_options_in_a_list_and_other_letters_are_no_choice(text: str) -> None:
    assert chosen_letter(text) is None


@pytest.mark.parametrize("form", SEVERAL)
def test_two_letters_are_no_choice(form: str) -> None:
    assert chosen_letter(form.replace("◯", "B")) is None


def test_bars_that_are_no_table_stay() -> None:
    assert chosen_letter("P(A|B) is 0.5. Answer: C") == "C"
    assert chosen_letter("|x| = 2, so B") == "B"
    assert chosen_letter("P(A|B)") is None
    assert chosen_letter("| Option | City |\n|---|---|\n| A | Paris |\n| B | Rome |") is None


def test_a_word_that_ends_in_a_letter_is_no_last_sentence() -> None:
    for text in ("It is plan B.", "he got a B.", "See part A. See part B.", "A dog rather than a cat"):
        assert chosen_letter(text) is None
