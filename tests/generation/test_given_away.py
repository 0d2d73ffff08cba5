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
        "According to the correct answer, it is 5.",
        "The solution above says 5.",
        "The user has provided a correct solution, so I write it in my words.",
        "The user already gave me the answer: 5.",
        "The prompt says the correct solution is 5.",
        "We are given the correct answer, 5.",
        "I should write as if I had found it myself.",
        "Looking at the reference, we see 5.",
        "As stated in the solution, 5.",
        "From the solution, we see that x is 5.",
        "This matches the expected answer.",
        "Here is my rewrite of the solution.",
        "用户给出了正确解答。",
        "用户提供了正确答案，我只需改写。",
        "题目已经给出答案 5。",
        "正确答案已经给出。",
        "答案中提到 5。",
        "提示中说磁盘已满。",
        "与答案一致，5。",
        "从解答可以看出，5。",
        "如上解答所示，5。",
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
        "Runbook step 3 restarts it.",
        "According to our documentation, restart it.",
        "According to the notes, restart it.",
        "As the system prompt says, restart it.",
        "The given context names the cause.",
        "根据所提供的文档，重启。",
        "根据知识库，重启。",
        "手册规定先备份。",
        "遵循手册，重启。",
        "见手册第 2 节。",
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
        "As shown in the examples, 5.",
        "As in example 1, 5.",
        "Similarly to example 2, 5.",
        "Like the problems above, 5.",
        "As we did in the last problem, 5.",
        "按照示例，5。",
        "和上一题一样，5。",
        "像前面的问题一样，5。",
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
    "I was told 3 apples were left.",
    "From the solution he takes 2 liters, and adds water to the solution.",
    "In the solution there are 5 g of salt, and the solution shows 30% acid.",
    "The salt found in the solution weighs 5 g.",
    "We are told that the solution is 30% acid.",
    "The question says the answer should be in dollars.",
    "The model answers the request with a 500.",
    "Using the answer above, we multiply by 2.",
    "Multiply the previous answer by 2. Use the same method as before.",
    "In the given problem, the problem above asks for 5. Given the problem, we add.",
    "Given two problems, the above problems are caused by the full disk.",
    "In the given context, x is the number of apples.",
    "The context shows a timeout. Based on the context of the question, x is 5.",
    "Based on the documents table, the query is slow.",
    "The output matches the expected result.",
    "Using the solution from step 1, x is 5.",
    "已知答案必为整数。",
    "如提示框所示，连接失败。",
    "系统提示说磁盘已满。",
    "给出的示例日志显示超时。",
    "根据文档数量计算，得 5。",
    "题目给出的答案格式是整数。",
    "下面给出答案：5。",
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
