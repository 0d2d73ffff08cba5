"""Overlap of evaluation and training data: normalised duplicates and shared 13-grams, with the items that hold them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from l2s.on_disk import Ids
from l2s.tasks.own.rows import NAME
from l2s.tasks.table import task_of
from l2s.tasks.task import Task
from l2s.tasks.types import Item

NGRAM_SIZE = 13  # words; the length that Brown et al. 2020, appendix C, use for contamination
INSTRUCTIONS = 0.1  # 13-grams in as many own rows as a tenth of a domain's evaluation rows are no row's problem
Words: TypeAlias = tuple[str, ...]  # normalised
Identity: TypeAlias = str | tuple[str, Words]  # a conversation, or the words of a problem or of a turn
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")  # each Chinese character is one word


@dataclass(frozen=True)
class NgramMatch:
    """An evaluation item that shares at least one 13-gram with training.

    Attributes:
        train_id: the training item that holds `ngram`, which is the first shared 13-gram.
        share: fraction of the evaluation item's 13-grams that occur in training; 0..1.
    """

    eval_id: str
    train_id: str
    ngram: str
    share: float


@dataclass(frozen=True)
class DomainOverlap:
    """What the evaluation items of one domain share with its training items.

    Attributes:
        num_train: of the same domain; of own data, of all its domains.
        duplicates: (evaluation id, training id) of problems that are equal except for case, punctuation, spaces and
            width; of own data, of conversations that are equal except for case, spaces and width.
        ngram: one match for every evaluation item that shares a 13-gram, duplicates of 13 words or more included.
    """

    num_train: int
    num_eval: int
    duplicates: list[tuple[str, str]]
    ngram: list[NgramMatch]


@dataclass(frozen=True)
class Repeats:
    """Items of one domain whose whole conversation an earlier item has, except for case, width and spaces.

    Attributes:
        pairs: (id, id of the earlier item).
        contradicting: those of them whose references differ.
    """

    pairs: list[tuple[str, str]]
    contradicting: list[tuple[str, str]]


def repeats(items: Sequence[Item]) -> dict[str, Repeats]:
    """The repeats of each domain that has any."""
    found: dict[str, Repeats] = {}
    for place, first in Ids(map(_conversation, items)).repeated():
        item, earlier = items[place], items[first]
        of_domain = found.setdefault(item["domain"], Repeats([], []))
        of_domain.pairs.append((item["id"], earlier["id"]))
        if item["reference"] != earlier["reference"]:
            of_domain.contradicting.append((item["id"], earlier["id"]))
    return found


def _conversation(item: Item) -> str:
    return f"{item['domain']}\n{_text(item)}"


def _text(item: Item) -> str:
    """All turns in one line, without case and width."""
    text = unicodedata.normalize("NFKC", " ".join(message["content"] for message in item["messages"]))
    return " ".join(text.casefold().split())


def question_of(item: Item) -> str:
    """What an item asks, in the form in which equal ones are duplicates: of own rows the whole conversation."""
    return _text(item) if _is_own(item) else " ".join(_words(_problem(item)))


def overlap(train: Sequence[Item], eval: Sequence[Item]) -> dict[str, DomainOverlap]:
    """Overlap by domain, for every domain that has evaluation items.

    Of the built-in domains only the problem is compared (`meta["problem"]`), because all items of a domain share the
    same instructions. An item without that field is compared by its last user message. They are compared with the
    training items of their domain and with the user's own rows, whose turns may be problems of a benchmark.

    Rows of the user's own data are compared with the training items of every domain. Their problem may be in any turn,
    before a last question that every row has. So a duplicate has the whole conversation of a training row, as in
    `repeats`, or a turn that is the problem of a built-in domain. 13-grams are those of each turn, without those of
    instructions.
    """
    by_domain: dict[str, list[Item]] = {}
    for item in eval:
        by_domain.setdefault(item["domain"], []).append(item)
    found: dict[str, DomainOverlap] = {}
    for task in {id(task): task for task in map(task_of, by_domain)}.values():
        domains = {domain: items for domain, items in by_domain.items() if task_of(domain) is task}
        found |= _task_overlap(train, domains, task)
    return {domain: found[domain] for domain in by_domain}


def _task_overlap(train: Sequence[Item], domains: dict[str, list[Item]], task: Task) -> dict[str, DomainOverlap]:
    """The overlap of each domain of a task with `train`; only what the evaluation has is kept in memory."""
    items = [item for found in domains.values() for item in found]
    # problem or 13-gram -> the first training item that has it
    whole: dict[Identity, str | None] = dict.fromkeys(chain.from_iterable(map(_sought, items)))
    grams: dict[Words, str | None] = dict.fromkeys(gram for item in items for gram in _ngrams(item))
    holders: Counter[Words] = Counter()  # how many training items hold a 13-gram
    for item in train:
        if not _is_compared(item, task):
            continue
        found = [gram for gram in dict.fromkeys(_ngrams(item)) if gram in grams]
        holders.update(found)
        for gram in found:
            grams[gram] = grams[gram] or item["id"]
        _note(item, whole)
    num_train = sum(task_of(item["domain"]) is task for item in train)
    often = _often(items, holders) if _is_own(items[0]) else Counter()
    return {domain: _domain_overlap(num_train, own, whole, grams, often) for domain, own in domains.items()}


def _is_compared(item: Item, task: Task) -> bool:
    """Whether a training item is compared with the evaluation of a task. Built-in domains share nothing."""
    return task_of(item["domain"]) is task or NAME in (task_of(item["domain"]).name, task.name)


def _note(item: Item, whole: dict[Identity, str | None]) -> None:
    """Enter a training item under all that is sought of it; the first one stays."""
    for identity in _offered(item):
        if identity in whole:
            whole[identity] = whole[identity] or item["id"]


def _often(items: Iterable[Item], holders: Counter[Words]) -> Counter[Words]:
    """13-grams that two training rows hold or more, with the number of evaluation rows that do, two or more."""
    shared = Counter(gram for item in items for gram in dict.fromkeys(_ngrams(item)) if holders[gram] > 1)
    return Counter({gram: number for gram, number in shared.items() if number > 1})


def _domain_overlap(
    num_train: int,
    items: list[Item],
    whole: dict[Identity, str | None],
    grams: dict[Words, str | None],
    often: Counter[Words],
) -> DomainOverlap:
    instructions = {gram for gram, number in often.items() if number >= INSTRUCTIONS * len(items)}
    matches = [_match(item, grams, instructions) for item in items]
    return DomainOverlap(num_train, len(items), _pairs(items, whole), [match for match in matches if match])


def duplicates(train: Iterable[Item], evaluation: Sequence[Item]) -> list[tuple[str, str]]:
    """(evaluation id, training id) of the equal problems in `DomainOverlap`, without the search for 13-grams."""
    first: dict[Identity, str | None] = dict.fromkeys(chain.from_iterable(map(_sought, evaluation)))
    for item in train:
        _note(item, first)
    return _pairs(evaluation, first)


def _pairs(items: Iterable[Item], first: dict[Identity, str | None]) -> list[tuple[str, str]]:
    found = ((item["id"], next(filter(None, map(first.get, _sought(item))), None)) for item in items)
    return [(id_, train_id) for id_, train_id in found if train_id is not None]


def _match(item: Item, grams: dict[Words, str | None], instructions: set[Words]) -> NgramMatch | None:
    own = [gram for gram in _ngrams(item) if gram not in instructions]
    shared = [(gram, train_id) for gram in own if (train_id := grams[gram]) is not None]
    if not shared:
        return None
    gram, train_id = shared[0]
    return NgramMatch(item["id"], train_id, " ".join(gram), len(shared) / len(own))


def _is_own(item: Item) -> bool:
    return task_of(item["domain"]).name == NAME


def _sought(item: Item) -> list[Identity]:
    """What an equal training item offers. Two own rows may differ in signs alone (2 + 3 and 2 - 3)."""
    if _is_own(item):
        return [_text(item), *(("problem", words) for words in _turns(item))]
    words = _words(_problem(item))
    return [("problem", words), ("turn", words)]


def _offered(item: Item) -> list[Identity]:
    """What a training item is found by."""
    if _is_own(item):
        return [_text(item), *(("turn", words) for words in _turns(item))]
    return [("problem", _words(_problem(item)))]


def _turns(item: Item) -> Iterator[Words]:
    return (_words(message["content"]) for message in item["messages"])


def _problem(item: Item) -> str:
    return str(item["meta"].get("problem") or item["messages"][-1]["content"])


def _words(text: str) -> Words:
    return tuple(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _ngrams(item: Item) -> Iterator[Words]:
    """The 13-grams of the problem; of own data, those of every turn."""
    for words in _turns(item) if _is_own(item) else [_words(_problem(item))]:
        yield from (words[start : start + NGRAM_SIZE] for start in range(len(words) - NGRAM_SIZE + 1))
