"""A filter of right answers that leaves little of one kind of item is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from l2s.generation.kinds import MOST, Kinds
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say
from l2s.tasks.aiops.task import TASK as AIOPS
from l2s.tasks.own.task import TASK as OWN
from l2s.tasks.types import Item


def item(reference: Any, domain: str = "own", *, healthy: bool = False) -> Item:
    meta = {"healthy": healthy} if domain == "aiops" else {}
    return Item(id="a", domain=domain, source="test", messages=[], reference=reference, meta=meta)


def counted(*kinds: tuple[Item, int, int]) -> Kinds:
    """Of each item, how many are asked, and how many of them are learned from."""
    found = Kinds()
    for one, asked, learned in kinds:
        for number in range(asked):
            found.add(one, is_learned=number < learned)
    return found


@pytest.mark.parametrize(
    ("healthy", "faults", "is_warned"),
    [
        ((15, 5), (85, 77), True),
        ((15, 6), (85, 77), True),  # 40 against 91 %
        ((15, 7), (85, 77), False),  # 47 against 91 %
        ((9, 0), (85, 77), False),  # too few to say
        ((10, 0), (85, 77), True),
        ((10, 0), (85, 0), False),
        ((15, 15), (85, 85), False),
        ((100, 40), (0, 0), False),  # there is no other kind
    ],
)
def test_a_kind_is_rare_below_half_the_share_of_the_others(
    healthy: tuple[int, int], faults: tuple[int, int], is_warned: bool
) -> None:
    kinds = counted((item("", "aiops", healthy=True), *healthy), (item("", "aiops"), *faults))
    assert [one["values"]["kind"] for one in kinds.warnings()] == ["healthy"] * is_warned


def test_each_domain_is_counted_alone() -> None:
    kinds = counted((item("", "aiops", healthy=True), 20, 0), (item("yes"), 50, 50))
    assert not list(kinds.warnings())


def test_labels_of_own_data_are_kinds_while_they_are_few() -> None:
    labels = [(item(label), 20, learned) for label, learned in (("page", 2), ("ticket", 18), ("ignore", 20))]
    assert [one["values"]["kind"] for one in counted(*labels).warnings()] == ["page"]
    many = [(item(str(number)), 20, 20 * (number > 0)) for number in range(MOST + 1)]
    assert not list(counted(*many).warnings())
    assert [one["values"]["kind"] for one in counted(*many[:MOST]).warnings()] == ["0"]


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("page", "page"), ({"severity": 1}, '{"severity": 1}'), (3, "3"), (None, None), ("  ", None), ("a\nb", None)],
)
def test_a_short_reference_is_a_label(reference: Any, kind: str | None) -> None:
    assert OWN.kind(item(reference)) == kind
    assert OWN.kind(item("x" * 61)) is None


def test_the_report_names_the_kind_in_its_language() -> None:
    assert AIOPS.kind(item("", "aiops", healthy=True)) == "healthy"
    (warning,) = counted((item("", "aiops", healthy=True), 15, 5), (item("", "aiops"), 85, 77)).warnings()
    assert say(warning, Text("en")).startswith(
        'AIOps: 5 of 15 items of the kind "healthy logs" have an answer to learn from, and 77 of 85 other items:'
    )
    assert "健康的日志" in say(warning, Text("zh"))
