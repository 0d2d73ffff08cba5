"""What the manifest of `generate` says about the answers, counted row by row."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from l2s.generation.answers import count_unclosed_thinking
from l2s.generation.curation import Choice, is_empty
from l2s.jsonl import Row
from l2s.metrics import GenerateMetrics
from l2s.warning import Warned, warned

SAME_ANSWERS_LIMIT = 0.9  # share of one text among the answers of a domain, from which the teacher is in doubt
FEWEST_FOR_SAME = 8  # answers below which this means little
CUT_ANSWERS_LIMIT = 0.1  # share of cut teacher answers above which students learn to stop mid-answer


@dataclass
class Tally:
    """Counts by domain of what was asked and of what is learned from. Memory: 16 bytes an answer."""

    rejected: int = 0
    tokens: int = 0
    unclosed: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    unclosed_at_stop: Counter[str] = field(default_factory=Counter)
    texts: dict[str, array[int]] = field(default_factory=dict)  # 64 bits of a hash for each answer
    scores: dict[str, array[float]] = field(default_factory=dict)

    def add(self, choice: Choice) -> None:
        """Count the answers to an item."""
        for row in choice.asked:
            self.asked[row["domain"]] += 1
            self.empty[row["domain"]] += is_empty(row["response"])
        for row in choice.kept:
            self._keep(row)
        self.rejected += len(choice.rejected)

    def _keep(self, row: Row) -> None:
        domain, score = row["domain"], row["graded"]["score"]
        is_unclosed = count_unclosed_thinking([row])
        self.kept[domain] += 1
        self.tokens += row["num_tokens"]
        self.cut[domain] += row["finish_reason"] == "length"
        self.unclosed += is_unclosed
        self.unclosed_at_stop[domain] += row["finish_reason"] == "stop" and is_unclosed
        digest = hashlib.sha256(row["response"].strip().encode(errors="surrogatepass")).digest()[:8]
        self.texts.setdefault(domain, array("Q")).append(int.from_bytes(digest, "big"))
        if score is not None:
            self.scores.setdefault(domain, array("d")).append(score)

    def metrics(self, warnings: Sequence[Warned] = ()) -> GenerateMetrics:
        """The metrics of the rows so far, with `warnings` in front of their own."""
        return {
            "num_responses": self.kept.total(),
            "num_rejected": self.rejected,
            "num_tokens": self.tokens,
            "truncated": self.cut.total(),
            "unclosed_thinking": self.unclosed,
            "mean_score": {domain: sum(found) / len(found) for domain, found in self.scores.items()},
            "warnings": [
                *warnings,
                *_warned("empty_answers", self.empty, self.asked),
                *self._same_answers(),
                *_warned("cut_answers", self.cut, self.kept, above=CUT_ANSWERS_LIMIT),
                *_warned("unclosed_thinking", self.unclosed_at_stop, self.kept, above=CUT_ANSWERS_LIMIT),
            ],
        }

    def _same_answers(self) -> list[Warned]:
        """A warning for each domain in which nearly all items got one and the same answer from the teacher."""
        found: list[Warned] = []
        for domain, texts in self.texts.items():
            if domain not in self.asked:  # reference solutions: no teacher is in doubt
                continue
            most = int(np.unique(texts, return_counts=True)[1].max())
            if len(texts) >= FEWEST_FOR_SAME and most >= SAME_ANSWERS_LIMIT * len(texts):
                found.append(warned("same_answers", found=most, n=len(texts), domain=domain))
        return found


def _warned(key: str, found: Counter[str], of: Counter[str], *, above: float = 0.0) -> list[Warned]:
    """A warning for each domain in which more than a share of the answers are of this kind."""
    return [
        warned(key, found=found[domain], n=number, domain=domain)
        for domain, number in of.items()
        if found[domain] > above * number
    ]
