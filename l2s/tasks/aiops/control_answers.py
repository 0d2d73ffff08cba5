"""Controls: answers that show no understanding and must score little, and the reference, which must score 1."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from l2s.tasks.aiops.scoring import MAX_WORDS, grade
from l2s.tasks.types import Item

LOUD = re.compile(r"error|warn|critical|fatal| 5\d\d ", re.IGNORECASE)
LONGEST_KEYWORD = 4  # words of a keyword worth stuffing
PUNCTUATION = ".,:;!?\"'()[]{}"


def controls(items: Sequence[Item]) -> dict[str, float]:
    """Mean score of every control over `items` (0..1).

    Each is the best of its kind: `log_echo` of four excerpts; `majority_answer` of all reference answers, each given
    to every item; `keyword_stuffing` is chosen with the key of `items` open, but for names and numbers of single items,
    for which the room that is left lists the words of each item's own log.
    """
    references = [str(item["reference"]) for item in items]
    return {
        "gold": _mean(items, references),
        "log_echo": max(_mean(items, [excerpt(item) for item in items]) for excerpt in EXCERPTS),
        "keyword_stuffing": keyword_stuffing(items),
        "majority_answer": max(_mean(items, [answer] * len(items)) for answer in dict.fromkeys(references)),
        "another_items_answer": _mean(items, references[1:] + references[:1]),
    }


def keyword_stuffing(items: Sequence[Item]) -> float:
    """What `stuffed_answer` scores, the words of each item's own log behind it."""
    stuffed = stuffed_answer(items)
    return _mean(items, [f"{stuffed}, {_words_of_log(item)}" for item in items])


def _mean(items: Sequence[Item], answers: Sequence[str]) -> float:
    scores = [grade(item, f"Answer: {answer}").score for item, answer in zip(items, answers, strict=True)]
    return sum(scores) / len(scores)


def _whole_log(item: Item) -> str:
    return str(item["meta"]["problem"])


def _loud_lines(item: Item) -> str:
    return "\n".join(line for line in _whole_log(item).splitlines() if LOUD.search(line))


def _last_lines(item: Item) -> str:
    return " ".join(_whole_log(item).split()[-MAX_WORDS:])


def _words_of_log(item: Item) -> str:
    """Each word once, so that no passage is a quotation: those of loud lines first, the most frequent first."""
    words = Counter(word.strip(PUNCTUATION) for word in _loud_lines(item).split())
    return ", ".join(word for word, _ in words.most_common() if word)


EXCERPTS: tuple[Callable[[Item], str], ...] = (_whole_log, _loud_lines, _last_lines, _words_of_log)


def stuffed_answer(items: Sequence[Item]) -> str:
    """As many keywords as an answer may have, chosen greedily by what each adds for its length.

    Gains mostly shrink as keywords are added: one that still leads when its gain is computed anew is the best.
    """
    affected = _items_by_keyword(items)
    scores = [0.0] * len(items)
    chosen: list[str] = []

    def gain(keyword: str) -> float:
        answer = "Answer: " + ", ".join([*chosen, keyword])
        added = sum(grade(items[index], answer).score - scores[index] for index in affected[keyword])
        return added / len(keyword.split())

    queue = [(-gain(keyword), keyword) for keyword in affected]
    heapq.heapify(queue)
    room = MAX_WORDS
    while queue:
        _, keyword = heapq.heappop(queue)
        if len(keyword.split()) > room:
            continue
        value = gain(keyword)
        if queue and value < -queue[0][0]:
            if value > 0:
                heapq.heappush(queue, (-value, keyword))
        elif value > 0:
            chosen.append(keyword)
            room -= len(keyword.split())
            for index in affected[keyword]:
                scores[index] = grade(items[index], "Answer: " + ", ".join(chosen)).score
    return ", ".join(chosen)


def _items_by_keyword(items: Sequence[Item]) -> dict[str, list[int]]:
    """For every phrase that the keys of several items share, the items it may help or harm.

    What stands in the key of one item alone is a name or number drawn for it: nobody can know it without its log.
    """
    wanted = Counter(phrase for item in items for phrase in _phrases(item["meta"]["concepts"]))
    affected: dict[str, list[int]] = {
        phrase: [] for phrase, count in wanted.items() if count > 1 and len(phrase.split()) <= LONGEST_KEYWORD
    }
    for index, item in enumerate(items):
        for phrase in _phrases([*item["meta"]["concepts"], *item["meta"]["forbidden"]]) & affected.keys():
            affected[phrase].append(index)
    return affected


def _phrases(entries: Sequence[dict[str, Any]]) -> set[str]:
    return {phrase for entry in entries for phrase in entry["phrases"]}
