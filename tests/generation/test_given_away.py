"""Words that give away what only the teacher was shown, and ordinary words that do not."""

from __future__ import annotations

import pytest

from l2s.generation.given_away import gives_context_away

GIVEN_AWAY = {
    "reference": (
        "Given the correct solution above, 5.",
        "The answer given to me is 5.",
        "Per your solution, 5.",
        "Your reference is right.",
        "I have seen the solution.",
        "I saw the correct answer.",
        "Following your hint, 5.",
        "按照您给的解答，得 5。",
        "您提供的答案是 5。",
        "如您所示的正确解答，5。",
        "你给我看的解答是 5。",
        "我看到的解答是 5。",
        "根据已知答案，5。",
        "解答显示 5。",
        "如上所示的解答，5。",
        "根据提供的参考，5。",
    ),
    "file:F": (
        "In the runbook, step 2 restarts it.",
        "Our runbook recommends a restart.",
        "Following the playbook, restart it.",
        "The runbook requires a restart.",
        "Refer to the runbook.",
        "手册建议重启。",
        "参见运维手册。",
        "文档要求先备份。",
    ),
    "fewshot:2": (
        "Similar to the first problem, 5.",
        "The same as in example 2.",
        "In the same way as the examples, 5.",
        "同上一题，5。",
        "如上例，5。",
        "与之前的问题类似。",
        "参照例题。",
        "仿照示例。",
    ),
}
ORDINARY = (
    "The solution to the problem is 5.",
    "With the solution of the equation, x = 3.",
    "I saw 3 apples.",
    "To find the answer, we add. See the log below.",
    "Your order has 3 items, given the price above.",
    "The database requires a restart; read the log from the pod.",
    "Use the same unit as in the table.",
    "The first problem is the full disk.",
    "与问题无关的日志可以忽略。",
    "同一题干中的数字相加。",
    "根据题目所给条件，得 5。",
    "日志显示磁盘不足，建议重启。",
    "解答：5。",
    "如图所示，已知长为 3。",
    "错误提示：连接超时。",
    "给出的提示信息是连接被拒绝。",
    "For your reference, the working is 3 + 2 = 5.",
    "The terms are listed here for your reference.",
    "Your reference number is 5.",
    "See the solution below: 3 + 2 = 5.",
    "日志里我看到提示信息：磁盘已满。",
    "您提供的提示信息说明磁盘已满。",
    "你提供的参考文档路径不存在。",
)


@pytest.mark.parametrize(
    ("context", "response"), [(context, text) for context, texts in GIVEN_AWAY.items() for text in texts]
)
def test_words_that_give_a_context_away(context: str, response: str) -> None:
    assert gives_context_away(response, context)
    assert not gives_context_away(response, "none")


@pytest.mark.parametrize("context", GIVEN_AWAY)
@pytest.mark.parametrize("response", ORDINARY)
def test_ordinary_words_do_not(context: str, response: str) -> None:
    assert not gives_context_away(response, context)
