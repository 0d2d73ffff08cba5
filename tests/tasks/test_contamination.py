"""Contamination: what evaluation shares with training, without the instructions."""

from __future__ import annotations

from l2s.tasks.contamination import NGRAM_SIZE, duplicates, overlap
from l2s.tasks.types import Item, Message

INSTRUCTIONS = "Solve the following problem step by step and end with a line that holds only the final number please. "


def item(name: str, problem: str | None, *, domain: str = "math", prompt: str = "") -> Item:
    return Item(
        id=name,
        domain=domain,
        source="test",
        messages=[{"role": "user", "content": prompt or INSTRUCTIONS + (problem or "")}],
        reference="1",
        meta={} if problem is None else {"problem": problem},
    )


def words(prefix: str, number: int) -> str:
    return " ".join(f"{prefix}{index}" for index in range(number))


def test_shared_instructions_do_not_count() -> None:
    found = overlap([item("t", words("a", 20))], [item("e", words("b", 20))])["math"]
    assert (found.num_train, found.num_eval, found.duplicates, found.ngram) == (1, 1, [], [])


def test_a_duplicate_is_found_through_case_punctuation_and_spaces() -> None:
    found = overlap([item("t", "How many eggs, in all?")], [item("e", "how  many EGGS in all")])["math"]
    assert found.duplicates == [("e", "t")]
    assert found.ngram == []  # too short to hold a 13-gram
    assert overlap([item("t", "小明有 12 个苹果。")], [item("e", "小明有１２个苹果")])["math"].duplicates == [
        ("e", "t")
    ]


def test_thirteen_shared_words_count_and_twelve_do_not() -> None:
    shared = words("s", NGRAM_SIZE)
    train = [item("t0", words("x", 30)), item("t1", f"{words('a', 5)} {shared} {words('b', 5)}")]
    evaluation = [
        item("e13", f"{words('c', 3)} {shared.upper()}! {words('d', 3)}"),
        item("e12", f"{words('c', 3)} {words('s', NGRAM_SIZE - 1)} {words('d', 3)}"),
    ]
    found = overlap(train, evaluation)["math"]
    assert [(match.eval_id, match.train_id, match.ngram) for match in found.ngram] == [("e13", "t1", shared)]
    assert found.ngram[0].share == 1 / (3 + 13 + 3 - NGRAM_SIZE + 1)


def test_a_chinese_character_counts_as_a_word() -> None:
    shared = "连接池里所有连接都被占用而且没有归还"
    found = overlap([item("t", f"甲{shared}乙")], [item("e", f"丙{shared}丁")])["math"]
    assert [match.eval_id for match in found.ngram] == ["e"]


def test_domains_are_compared_with_themselves_only() -> None:
    text = words("a", 20)
    found = overlap([item("t", text, domain="code")], [item("e", text, domain="math"), item("c", text, domain="code")])
    assert found["math"].duplicates == []
    assert found["code"].duplicates == [("c", "t")]
    assert found["code"].ngram[0].share == 1


def test_an_item_without_a_problem_is_compared_by_its_message() -> None:
    found = overlap([item("t", None, prompt="def add(a, b):")], [item("e", None, prompt="def add(a, b):")])["math"]
    assert found.duplicates == [("e", "t")]


def test_domains_of_the_users_own_data_share_its_training_rows_and_the_first_one_is_named() -> None:
    text = words("a", 20)
    train = [item(name, text, domain=domain) for name, domain in (("t1", "own"), ("t2", "poems"), ("t3", "poems"))]
    found = overlap(train, [item("p", text, domain="poems"), item("l", words("b", 20), domain="letters")])
    assert list(found) == ["poems", "letters"]
    assert [one.num_train for one in found.values()] == [3, 3]
    assert found["poems"].duplicates == [("p", "t1")]
    assert [(match.train_id, match.share) for match in found["poems"].ngram] == [("t1", 1)]
    assert (found["letters"].duplicates, found["letters"].ngram) == ([], [])


def own(name: str, *turns: str) -> Item:
    """A row of the user's own data: a system message, then turns of user and assistant."""
    roles = ["system", *(("user", "assistant")[number % 2] for number in range(len(turns) - 1))]
    messages: list[Message] = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]  # type: ignore[typeddict-item]
    return item(name, turns[-1], domain="own") | {"messages": messages}


def test_own_rows_that_share_their_last_question_alone_are_not_the_same() -> None:
    question = f"Summarise the document above {words('plainly', NGRAM_SIZE)}."
    train = [own(f"t{number}", f"{words(f't{number}_', 20)}.", question) for number in range(5)]
    evaluation = [own(f"e{number}", f"{words(f'e{number}_', 20)}.", question) for number in range(3)]
    found = overlap(train, evaluation)["own"]
    assert (found.duplicates, found.ngram, duplicates(train, evaluation)) == ([], [], [])


def test_own_rows_are_compared_by_all_their_turns() -> None:
    document = words("d", 20)
    train = [
        own("same", "Be brief.", f"Read: {document}", "Done.", "How long is it?"),
        own("t", document, "Its topic?"),
    ]
    evaluation = [
        own("equal", "Be  BRIEF.", f"Read: {document}", "Done.", "How long is it?"),
        own("part", document, "Its author?"),
        *(own(f"e{number}", words(f"e{number}_", 20), "Its topic?") for number in range(20)),
    ]
    found = overlap(train, evaluation)["own"]
    assert found.duplicates == duplicates(train, evaluation) == [("equal", "same")]
    assert [(match.eval_id, match.train_id, match.share) for match in found.ngram] == [
        ("equal", "same", 1), ("part", "same", 1),
    ]  # fmt: skip


def test_problems_of_a_benchmark_in_own_training_rows_are_found_and_named() -> None:
    """Instructions that others collected often hold the problems of GSM8K."""
    problem = words("eggs", 20)
    train = [
        own("short", "Be brief.", "How many eggs?"),
        own("long", f"Solve this: {problem}, please."),
        item("t", "x"),
    ]
    evaluation = [item("e1", "How many eggs"), item("e2", problem), item("e3", words("hens", 20))]
    found = overlap(train, evaluation)["math"]
    assert found.num_train == 1
    assert found.duplicates == duplicates(train, evaluation) == [("e1", "short")]
    assert [(match.eval_id, match.train_id, match.share) for match in found.ngram] == [("e2", "long", 1.0)]


def test_built_in_training_problems_in_own_evaluation_rows_are_found() -> None:
    problem = words("eggs", 20)
    train = [item("t1", "How many eggs?"), item("t2", problem)]
    evaluation = [own("e1", "How many eggs?"), own("e2", "Be brief.", f"Solve this: {problem}")]
    found = overlap(train, evaluation)["own"]
    assert found.duplicates == [("e1", "t1")]
    assert [(match.eval_id, match.train_id) for match in found.ngram] == [("e2", "t2")]


def test_own_rows_that_differ_in_a_sign_are_not_the_same() -> None:
    assert overlap([own("t", "Add.", "2 + 3?")], [own("e", "Add.", "2 - 3?")])["own"].duplicates == []
