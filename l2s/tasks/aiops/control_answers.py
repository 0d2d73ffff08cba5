"""Controls: answers without understanding, which must score little, and the reference answer, which must score 1."""

from __future__ import annotations

import heapq
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

from l2s.tasks.aiops.causes import CAUSES, NO_FAULT
from l2s.tasks.aiops.scoring import MAX_WORDS, grade
from l2s.tasks.types import Item

SEVERE = re.compile(r"error|warn|critical|fatal| 5\d\d ", re.IGNORECASE)
LONGEST_KEYWORD = 4  # longest keyword worth stuffing, in words
PUNCTUATION = ".,:;!?\"'()[]{}"


def controls(items: Sequence[Item]) -> dict[str, float]:
    """Mean score of every control over `items` (0..1).

    Each is the best of its kind. `log_echo`: the best of four excerpts. `majority_answer`: the best reference answer,
    given to every item. `keyword_stuffing`: keywords chosen with the key of `items` open, without names and numbers of
    single items; words of each item's own log fill the rest. `hedging`: the reference after three other causes, drawn
    for each item.
    """
    references = [str(item["reference"]) for item in items]
    return {
        "gold": _mean(items, references),
        "log_echo": max(_mean(items, [excerpt(item) for item in items]) for excerpt in EXCERPTS),
        "keyword_stuffing": keyword_stuffing(items),
        **(_answers_of_others(items, references) if len(items) > 1 else {}),
        "hedging": _mean(items, [_hedged(item, 3) for item in items]),
    }


def _answers_of_others(items: Sequence[Item], references: list[str]) -> dict[str, float]:
    """Two controls that need a second item: the only item's reference would be its own right answer."""
    return {
        "majority_answer": max(_mean(items, [answer] * len(items)) for answer in dict.fromkeys(references)),
        "another_items_answer": _mean(items, references[1:] + references[:1]),
    }


def keyword_stuffing(items: Sequence[Item]) -> float:
    """The score of `stuffed_answer`, followed by words of each item's own log."""
    stuffed = stuffed_answer(items)
    return _mean(items, [f"{stuffed}, {_words_of_log(item)}" for item in items])


def hedging_with(cause: str, items: Sequence[Item]) -> float:
    """The score of every item's reference after `cause`, over the items for which that cause is wrong."""
    asked = [item for item in items if cause not in _right(item)]
    return _mean(asked, [_behind([cause], item) for item in asked])


def _hedged(item: Item, number: int) -> str:
    """The reference after `number` other causes."""
    others = [cause for cause in CAUSES if cause not in _right(item)]
    return _behind(random.Random(item["id"]).sample(others, number), item)


def _right(item: Item) -> tuple[str, str]:
    return item["meta"]["family"], NO_FAULT if item["meta"]["healthy"] else ""


def _behind(causes: Sequence[str], item: Item) -> str:
    named = [_said(CAUSES[cause].preferred(item["meta"]["language"])) for cause in causes]
    return "; ".join([*named, item["reference"]])


def _mean(items: Sequence[Item], answers: Sequence[str]) -> float:
    scores = [grade(item, f"Answer: {answer}").score for item, answer in zip(items, answers, strict=True)]
    return sum(scores) / len(scores)


def _whole_log(item: Item) -> str:
    return str(item["meta"]["problem"])


def _severe_lines(item: Item) -> str:
    return "\n".join(line for line in _whole_log(item).splitlines() if SEVERE.search(line))


def _last_lines(item: Item) -> str:
    return " ".join(_whole_log(item).split()[-MAX_WORDS:])


def _words_of_log(item: Item) -> str:
    """Each word of the severe lines once, so that no passage is a quotation; the most frequent first."""
    words = Counter(word.strip(PUNCTUATION) for word in _severe_lines(item).split())
    return ", ".join(word for word, _ in words.most_common() if word)


EXCERPTS: tuple[Callable[[Item], str], ...] = (_whole_log, _severe_lines, _last_lines, _words_of_log)


def stuffed_answer(items: Sequence[Item]) -> str:
    """As many keywords as an answer may have, chosen greedily by gain per length.

    Gains mostly shrink as keywords are added: a keyword that still leads after its gain is recomputed is the best. Only
    items whose key wants the keyword can gain; the others can lose their score.
    """
    wanted_by = _items_by_keyword(items)
    scores = [0.0] * len(items)
    chosen: list[str] = []

    def added(keyword: str) -> dict[int, float]:
        answer = "Answer: " + ", ".join([*chosen, keyword])
        changes = {index: grade(items[index], answer).score - scores[index] for index in wanted_by[keyword]}
        if sum(changes.values()) > 0:
            others = [index for index, score in enumerate(scores) if score and index not in changes]
            changes |= {index: grade(items[index], answer).score - scores[index] for index in others}
        return changes

    def gain(keyword: str) -> float:
        return sum(added(keyword).values()) / len(keyword.split())

    queue = [(-gain(keyword), keyword) for keyword in wanted_by]
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
            for index, change in added(keyword).items():
                scores[index] += change
            chosen.append(keyword)
            room -= len(keyword.split())
    return ", ".join(chosen)


def _items_by_keyword(items: Sequence[Item]) -> dict[str, list[int]]:
    """For every keyword that several items' keys share, the items that want it.

    A keyword in only one key is a name or number drawn for that item, which nobody can know without its log.
    """
    wanted_by: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        for keyword in {_said(phrase) for concept in item["meta"]["concepts"] for phrase in concept["phrases"]}:
            wanted_by.setdefault(keyword, []).append(index)
    return {
        keyword: found
        for keyword, found in sorted(wanted_by.items())
        if len(found) > 1 and len(keyword.split()) <= LONGEST_KEYWORD
    }


def _said(phrase: str) -> str:
    """A short text that says `phrase`."""
    said = re.sub(r"\[(.*?)\]", lambda choices: min(choices[1].split("/"), key=len), phrase.strip(";"))
    return re.sub(r"\s*[~…&]\s*", "" if re.search("[\u3400-\u9fff]", said) else " ", said)
