"""Math: a later correction that states a new number counts, with or without a marker."""

from __future__ import annotations

import pytest

from l2s.tasks.final_number import final_number

CORRECTED = [
    "The answer is ◯. Wait, so it's ●.", "#### ◯\nWait, so it's ●.", "The answer is ◯. Correction: ●.",
    "The answer is ◯. Correction: it is ●", "#### ◯\nCorrection: ●", "The answer is ◯. Actually, it's ●.",
    "The answer is ◯. Actually ●.", "The answer is ◯. Actually, it should be ●.", "The answer is ◯, no, ●.",
    "The answer is ◯... no wait, ●.", "The answer is ◯. Sorry, ●.", "The answer is ◯. I mean ●.",
    "#### ◯\nI mean ● dollars.",
    "The answer is ◯. Sorry, the correct answer is ●.", "The answer is ◯. Edit: ●", "#### ◯\n\nEdit: #### ●",
    "The answer is ◯. Oops, I made a mistake: it's ●.", "The answer is ◯. Hmm, that's wrong. It is ●.",
    "The answer is ◯. Scratch that, ●.", "My answer is ◯. On second thought, it's ●.",
    "The final answer is ◯. Wait, no: ●.",
    "\\boxed{◯} Wait, it should be \\boxed{●}", "\\boxed{◯}. Wait, so it is ●.", "**◯** Wait, so it's **●**",
    "The answer is ◯ (correction: ●).", "The answer is ◯. Wait, is it ●? No, it is ●.", "◯. No, ●.",
    "#### ◯\nWait, I forgot to add 2: 9 + 9 = ●.", "The answer is ◯. Wait, that was wrong. 3 * 4 = ●.",
    "The answer is ◯. No, it's 9 * 2 = ●.", "The answer is ◯. Wait, so it's 9 eggs. Then 9 * 2 = 18.\n#### ●",
    "答案是◯。更正：●。", "答案是◯。更正：应为●。", "答案是◯。更正：答案是●。", "答案是◯。等等，应该是●。",
    "答案是◯。不对，应该是●。",
    "答案是◯。不对，是●", "答案是◯，不对，●。", "#### ◯\n等一下，应该是●", "答案：◯（更正：●）",
    "答案是◯。等等，不对，应该是●个。",
    "答案是◯嗎？不，是●。", "答案是◯。錯了，應該是●。", "答案是◯。不對，應該是●。",
]  # fmt: skip
NOT_CORRECTED = [
    "#### 18\nWait, let me double check: 9 * 2 = 18. Yes.", "#### 18\nWait, did I use all 16 eggs? Yes.",
    "The answer is 18. Wait, let me check: 16 - 3 - 4 = 9, 9 * 2 = 18. Correct.",
    "#### 18\nActually, this is easy because 9 * 2 works.", "The answer is 18. Actually, she sold 9 eggs at 2 dollars.",
    "#### 18\nActually, 9 eggs are sold each day.", "#### 18\nActually it's 2 dollars each.",
    "#### 18\nSo it is 9 eggs at 2.",
    "The answer is 18. Wait, is it 20? No, it's 18.", "The answer is 18. Is it 20? No.",
    "The answer is 18. Wait, 20? No.",
    "#### 18\nWait, shouldn't it be 20? No, 18 is right.", "#### 18. Actually I checked it 2 times.",
    "#### 18\nWait, the problem asks for 2 days? No, for one day.", "#### 18\nNo further steps: 2 lines suffice.",
    "#### 18\nSorry, 2 typos above.", "The answer is 18, no more than 20.", "The answer is 18. No 2 days are alike.",
    "Step 1: 20 eggs. Wait, it's 16 eggs. 16 - 7 = 9. 9 * 2 = 18 dollars.",
    "First: the answer is 20. Wait, it's 9 eggs.\nThe answer is 18.",
    "The answer is 18. Wait a minute, that is for 1 day. Yes, the question asks about 1 day.",
    "答案是18。等等，我检查一下：9×2=18，没错。", "答案是18。其实每天只有9个蛋，每个2元。",
    "答案是18。其实是9个蛋，每个2元。",
    "答案是18。不用20元。", "答案不是20，而是18。",
]  # fmt: skip


@pytest.mark.parametrize("text", CORRECTED)
def test_a_correction_that_states_a_number_counts(text: str) -> None:
    for before, after in ((20, 18), (18, 20)):
        answer = text.replace("◯", str(before)).replace("●", str(after))
        assert final_number(answer) == after


@pytest.mark.parametrize("text", NOT_CORRECTED)
def test_a_check_or_a_remark_is_no_correction(text: str) -> None:
    assert final_number(text) == 18
