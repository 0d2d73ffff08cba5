"""Overlap of evaluation and training data: normalised duplicates and shared 13-grams, with the items that hold them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from l2s.tasks.table import task_of
from l2s.tasks.types import Item

NGRAM_SIZE = 13  # words; the length that Brown et al. 2020, appendix C, use for contamination
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


def overlap(train: Sequence[Item], eval: Sequence[Item]) -> dict[str, DomainOverlap]:
    """Overlap by domain, for every domain that has evaluation items.

    Only the problem is compared (`meta["problem"]`), because all items of a domain share the same instructions. An item
    without that field is compared by its last user message. Rows of the user's own data are compared with all training
    rows of that data, whatever domain they name.
    """
    domains = dict.fromkeys(item["domain"] for item in eval)
    return {
        domain: _domain_overlap(
            [item for item in train if task_of(item["domain"]) is task_of(domain)],
            [item for item in eval if item["domain"] == domain],
        )
        for domain in domains
    }


def _domain_overlap(train: Sequence[Item], evaluation: Sequence[Item]) -> DomainOverlap:
    whole: dict[tuple[str, ...], str] = {}  # normalised problem -> first training item that has it
    grams: dict[tuple[str, ...], str] = {}  # 13-gram -> first training item that has it
    for item in train:
        words = _words(item)
        whole.setdefault(words, item["id"])
        for gram in _ngrams(words):
            grams.setdefault(gram, item["id"])
    problems = [(item["id"], _words(item)) for item in evaluation]
    duplicates = [(eval_id, whole[words]) for eval_id, words in problems if words in whole]
    matches = [_match(eval_id, words, grams) for eval_id, words in problems]
    return DomainOverlap(len(train), len(evaluation), duplicates, [match for match in matches if match])


def _match(eval_id: str, words: tuple[str, ...], grams: dict[tuple[str, ...], str]) -> NgramMatch | None:
    own = list(_ngrams(words))
    shared = [gram for gram in own if gram in grams]
    if not shared:
        return None
    return NgramMatch(eval_id, grams[shared[0]], " ".join(shared[0]), len(shared) / len(own))


def _words(item: Item) -> tuple[str, ...]:
    problem = item["meta"].get("problem") or item["messages"][-1]["content"]
    return tuple(WORD.findall(unicodedata.normalize("NFKC", str(problem)).casefold()))


def _ngrams(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (words[start : start + NGRAM_SIZE] for start in range(len(words) - NGRAM_SIZE + 1))
