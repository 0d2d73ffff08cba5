"""Whether the filter of right answers changes the mix of the items: a kind that is asked and hardly learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from l2s.tasks.table import task_of
from l2s.tasks.types import Item
from l2s.warning import Warned, warned

FEWEST = 10  # items of a kind below which its share means little
LOW = 0.5  # of the share of all other items
MOST = 100  # kinds of a domain; texts that are more varied than that name no classes


class Kinds:
    """By domain, how many items of each kind were asked, and how many of them have an answer to learn from.

    A teacher that is bad at one kind of item leaves few answers of it, and students can forget what they knew there.
    """

    def __init__(self) -> None:
        self.asked: dict[str, Counter[str]] = {}
        self.learned: dict[str, Counter[str]] = {}

    def add(self, item: Item, *, is_learned: bool) -> None:
        """Count an item."""
        kind, domain = task_of(item["domain"]).kind(item), item["domain"]
        asked = self.asked.setdefault(domain, Counter())
        if kind is None or (kind not in asked and len(asked) > MOST):
            return
        asked[kind] += 1
        self.learned.setdefault(domain, Counter())[kind] += is_learned

    def warnings(self) -> Iterator[Warned]:
        """A warning for each kind that is learned from less than half as often as the others of its domain."""
        for domain, asked in self.asked.items():
            if len(asked) > MOST:
                continue
            learned = self.learned.get(domain, Counter())
            for kind, number in asked.items():
                others, learned_others = asked.total() - number, learned.total() - learned[kind]
                if number >= FEWEST and learned[kind] * others < LOW * learned_others * number:
                    yield warned(
                        "rare_kind",
                        domain=domain,
                        kind=kind,
                        found=learned[kind],
                        n=number,
                        others=learned_others,
                        of_others=others,
                    )
