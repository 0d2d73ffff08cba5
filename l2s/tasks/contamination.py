"""Overlap of evaluation and training data: normalised duplicates and shared 13-grams, with the items that hold them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from l2s.on_disk import Ids
from l2s.tasks.table import task_of
from l2s.tasks.types import Item

NGRAM_SIZE = 13  # words; the length that Brown et al. 2020, appendix C, use for contamination
Words: TypeAlias = tuple[str, ...]  # normalised
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
        duplicates: (evaluation id, training id) of problems that are equal except for case, punctuation, spaces and
            width.
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
    text = unicodedata.normalize("NFKC", " ".join(message["content"] for message in item["messages"]))
    return f"{item['domain']}\n{' '.join(text.casefold().split())}"


def overlap(train: Sequence[Item], eval: Sequence[Item]) -> dict[str, DomainOverlap]:
    """Overlap by domain, for every domain that has evaluation items.

    Only the problem is compared (`meta["problem"]`), because all items of a domain share the same instructions. An item
    without that field is compared by its last user message. Rows of the user's own data are compared with all training
    rows of that data, whatever domain they name.
    """
    by_domain: dict[str, list[Item]] = {}
    for item in eval:
        by_domain.setdefault(item["domain"], []).append(item)
    found: dict[str, DomainOverlap] = {}
    for task in {id(task): task for task in map(task_of, by_domain)}.values():
        domains = {domain: items for domain, items in by_domain.items() if task_of(domain) is task}
        found |= _task_overlap([item for item in train if task_of(item["domain"]) is task], domains)
    return {domain: found[domain] for domain in by_domain}


def _task_overlap(train: Sequence[Item], domains: dict[str, list[Item]]) -> dict[str, DomainOverlap]:
    """The overlap of each domain with `train`; only what the evaluation has is kept in memory."""
    problems = {domain: [(item["id"], _words(item)) for item in items] for domain, items in domains.items()}
    texts = [words for items in problems.values() for _, words in items]
    whole: dict[Words, str | None] = dict.fromkeys(texts)  # problem -> first training item that is it
    grams: dict[Words, str | None] = dict.fromkeys(gram for words in texts for gram in _ngrams(words))
    for item in train:
        words = _words(item)
        for places, keys in ((whole, [words]), (grams, _ngrams(words))):
            for key in keys:
                if key in places and places[key] is None:
                    places[key] = item["id"]
    return {domain: _domain_overlap(len(train), items, whole, grams) for domain, items in problems.items()}


def _domain_overlap(
    num_train: int, problems: list[tuple[str, Words]], whole: dict[Words, str | None], grams: dict[Words, str | None]
) -> DomainOverlap:
    duplicates = [(eval_id, train_id) for eval_id, words in problems if (train_id := whole[words]) is not None]
    matches = [_match(eval_id, words, grams) for eval_id, words in problems]
    return DomainOverlap(num_train, len(problems), duplicates, [match for match in matches if match])


def duplicates(train: Iterable[Item], evaluation: Sequence[Item]) -> list[tuple[str, str]]:
    """(evaluation id, training id) of the equal problems in `DomainOverlap`, without the search for 13-grams."""
    problems = [(item["id"], _words(item)) for item in evaluation]
    first: dict[Words, str | None] = dict.fromkeys(words for _, words in problems)
    for item in train:
        words = _words(item)
        if words in first and first[words] is None:
            first[words] = item["id"]
    return [(eval_id, train_id) for eval_id, words in problems if (train_id := first[words]) is not None]


def _match(eval_id: str, words: Words, grams: dict[Words, str | None]) -> NgramMatch | None:
    own = list(_ngrams(words))
    shared = [(gram, train_id) for gram in own if (train_id := grams[gram]) is not None]
    if not shared:
        return None
    gram, train_id = shared[0]
    return NgramMatch(eval_id, train_id, " ".join(gram), len(shared) / len(own))


def _words(item: Item) -> Words:
    problem = item["meta"].get("problem") or item["messages"][-1]["content"]
    return tuple(WORD.findall(unicodedata.normalize("NFKC", str(problem)).casefold()))


def _ngrams(words: Words) -> Iterator[Words]:
    return (words[start : start + NGRAM_SIZE] for start in range(len(words) - NGRAM_SIZE + 1))
