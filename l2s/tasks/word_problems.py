"""A seeded generator of grade-school word problems of one to three steps, for runs without GSM8K.

Training and evaluation share templates only. Each person, and each combination of a template's numbers, belongs to one
of the two splits, whatever the seed. So evaluation asks for sums that training never showed. A person is named in every
run of 13 words, so the splits share no such run, which reports count as contamination.
"""

from __future__ import annotations

import operator
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Split = Literal["train", "eval"]
EVAL_SHARE = 5  # one in five combinations of numbers belongs to evaluation
# There are a few more, as the rarest template shows. Nearer to their number, most draws would repeat a problem.
MOST: dict[Split, int] = {"train": 250_000, "eval": 25_000}


class Problem(NamedTuple):
    """A rendered problem: its text, its worked solution, which ends with `#### <answer>`, and the answer."""

    text: str
    solution: str
    answer: str


@dataclass(frozen=True)
class Template:
    """One story. `numbers` are inclusive ranges. A step is `reason: left sign right = name of the result`."""

    text: str
    numbers: Mapping[str, tuple[int, int]]
    steps: tuple[str, ...]


NAMES: dict[Split, tuple[str, ...]] = {
    "train": (
        "Anna",
        "Ben",
        "Carla",
        "David",
        "Elena",
        "Farid",
        "Grace",
        "Hiro",
        "Ines",
        "Jonas",
        "Katya",
        "Liam",
        "Mona",
        "Nikhil",
        "Olga",
        "Pedro",
        "Rosa",
        "Samir",
        "Tara",
        "Viktor",
        "Wei",
        "Xenia",
        "Yusuf",
        "Zoe",
    ),
    "eval": ("Amir", "Bella", "Chen", "Dora", "Emil", "Fatima", "Georg", "Hana", "Ivan", "Julia", "Kofi", "Lena"),
}
THINGS = (
    "apples",
    "marbles",
    "stickers",
    "pencils",
    "books",
    "shells",
    "coins",
    "cards",
    "buttons",
    "candles",
    "cookies",
    "stamps",
    "oranges",
    "beads",
    "balloons",
    "toy cars",
    "crayons",
    "muffins",
    "postcards",
    "seeds",
)
PLACES = ("school", "the market", "the library", "the fair", "the park", "the beach", "a shop", "the club")

TEMPLATES = (
    Template(
        "{name} has {a} {things}. {friend} gives {name} {b} more. How many {things} does {name} have now?",
        {"a": (2, 40), "b": (2, 30)},
        ("in all: a + b = total",),
    ),
    Template(
        "{name} had {a} {things}. At {place} {name} lost {b} of them. How many {things} does {name} still have?",
        {"a": (10, 50), "b": (2, 40)},
        ("left: a - b = left",),
    ),
    Template(
        "{name} buys {a} boxes. Each of {name}'s boxes holds {b} {things}. How many {things} does {name} buy?",
        {"a": (2, 12), "b": (3, 20)},
        ("in the boxes: a * b = total",),
    ),
    Template(
        "{name} has {a} {things} and {b} friends. {name} gives each friend equally many. "
        "How many {things} does each get?",
        {"a": (6, 96), "b": (2, 12)},
        ("for each: a / b = each",),
    ),
    Template(
        "{name} has {a} {things}. {friend} has {b} times as many. How many {things} do both have?",
        {"a": (2, 25), "b": (2, 9)},
        ("the friend has: a * b = more", "together: a + more = total"),
    ),
    Template(
        "{name} buys {a} {things} at ${b} each. {name} pays with a ${c} bill. How many dollars does {name} get back?",
        {"a": (2, 9), "b": (2, 11), "c": (20, 100)},
        ("price: a * b = price", "change: c - price = change"),
    ),
    Template(
        "{name} reads {a} pages on Monday. On Tuesday {name} reads {b} pages. {name}'s book has {c} pages. "
        "How many pages does {name} still have to read?",
        {"a": (5, 40), "b": (5, 40), "c": (60, 150)},
        ("read so far: a + b = read", "not yet: c - read = left"),
    ),
    Template(
        "A bag holds {a} red {things} and {b} blue ones. {name} fills {c} such bags. "
        "How many {things} does {name} use?",
        {"a": (2, 15), "b": (2, 15), "c": (2, 9)},
        ("in one bag: a + b = bag", "in all bags: bag * c = total"),
    ),
    Template(
        "For an hour {name} gets ${a}. Working {b} hours a day, how many dollars does {name} earn in {c} days?",
        {"a": (5, 20), "b": (2, 8), "c": (2, 6)},
        ("a day: a * b = day", "in all: day * c = total"),
    ),
    Template(
        "{name} picks {a} {things}, {friend} picks {b}. With {c} to a bag, how many bags can {name} and {friend} fill?",
        {"a": (4, 50), "b": (4, 50), "c": (2, 10)},
        ("picked: a + b = picked", "bags: picked / c = bags"),
    ),
    Template(
        "{name} is {a} years old. {friend} is {b} years older. How old will {friend} be in {c} years?",
        {"a": (4, 30), "b": (2, 20), "c": (2, 12)},
        ("now: a + b = now", "then: now + c = then"),
    ),
    Template(
        "{name} takes a train with {a} people near {place}. {name} sees {b} get off and {c} get on. "
        "How many stay with {name}?",
        {"a": (30, 90), "b": (3, 29), "c": (3, 29)},
        ("after some leave: a - b = stay", "now: stay + c = now"),
    ),
    Template(
        "{name} saves ${a} every week. After {b} weeks {name} spends ${c} at {place}. How many dollars remain?",
        {"a": (3, 20), "b": (2, 12), "c": (5, 60)},
        ("saved: a * b = saved", "left: saved - c = left"),
    ),
    Template(
        "{name} makes {a} {things} a day. After {b} days, {name} sells half of them. How many {things} were sold?",
        {"a": (4, 30), "b": (2, 10)},
        ("made: a * b = made", "sold: made / 2 = sold"),
    ),
    Template(
        "{name}'s class of {a} children goes to {place}. With {name}'s class go {b} adults. "
        "{name} pays ${c} for each ticket. How many dollars does {name} pay for all?",
        {"a": (2, 20), "b": (2, 9), "c": (2, 12)},
        ("people: a + b = people", "tickets: people * c = cost"),
    ),
    Template(
        "Every day {name} runs {a} km and {friend} runs {b} km. How many km do {name} and {friend} run in {c} days?",
        {"a": (2, 9), "b": (2, 9), "c": (2, 14)},
        ("a day: a + b = day", "in all: day * c = total"),
    ),
    Template(
        "Each of {b} shelves holds {a} {things}, and {name} takes {c} of them away. How many {things} stay?",
        {"a": (4, 20), "b": (2, 9), "c": (3, 30)},
        ("at first: a * b = first", "left: first - c = left"),
    ),
    Template(
        "{name} cuts a rope of {a} cm into {b} equal pieces and gives {friend} {c} of them. "
        "How many cm of rope does {friend} get?",
        {"a": (20, 120), "b": (4, 12), "c": (2, 3)},
        ("a piece: a / b = piece", "given: piece * c = given"),
    ),
    Template(
        "{name} has ${a}. A cap costs {name} ${b} and a ball ${c}. "
        "How many dollars does {name} keep after buying both?",
        {"a": (40, 100), "b": (3, 20), "c": (3, 19)},
        ("both: b + c = both", "left: a - both = left"),
    ),
    Template(
        "{name} bakes {a} trays of {b} muffins. {friend} bakes {c} more muffins than {name}. "
        "How many muffins does {friend} bake?",
        {"a": (2, 9), "b": (4, 12), "c": (2, 30)},
        ("first: a * b = first", "the other: first + c = other"),
    ),
    Template(
        "{name} has {a} {things}, gives {b} to {friend} and {c} to others, then doubles the rest. "
        "How many does {name} have in the end?",
        {"a": (20, 60), "b": (2, 9), "c": (2, 9)},
        ("given away: b + c = given", "left: a - given = left", "doubled: left * 2 = total"),
    ),
    Template(
        "{name} buys {a} pens at ${b} each. {name} also buys {c} pads at ${d}. How many dollars does {name} pay?",
        {"a": (2, 8), "b": (2, 6), "c": (2, 8), "d": (2, 9)},
        ("pens: a * b = pens", "pads: c * d = pads", "in all: pens + pads = total"),
    ),
    Template(
        "{a} buses bring {b} people each to {name}. Then {c} people come on foot, and {name} forms {d} equal groups. "
        "How many people are in each of {name}'s groups?",
        {"a": (2, 6), "b": (10, 40), "c": (4, 40), "d": (2, 9)},
        ("by bus: a * b = riders", "people: riders + c = people", "a group: people / d = group"),
    ),
    Template(
        "{name} collects {a} {things} in May, {b} fewer in June. In July {name} collects as many as in "
        "both months together. How many does {name} collect in July?",
        {"a": (10, 40), "b": (2, 9)},
        ("June: a - b = june", "July: a + june = july"),
    ),
)

SMALL_NUMBERS: tuple[Mapping[str, tuple[int, int]], ...] = ({"a": (2, 9), "b": (2, 9)}, {"a": (5, 18), "b": (2, 9)})
ONE_STEP = tuple(  # addition and subtraction, which a model of 135M parameters can learn in minutes
    replace(template, numbers=numbers) for template, numbers in zip(TEMPLATES, SMALL_NUMBERS, strict=False)
)

SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
STEP = re.compile(r"(?P<reason>[^:]+): (?P<left>\w+) (?P<sign>\S) (?P<right>\w+) = (?P<result>\w+)")


def generate(split: Split, size: int, *, seed: int, templates: Sequence[Template] = TEMPLATES) -> list[Problem]:
    """`size` different problems of `split`, about as many from each template; the same seed gives the same problems.

    `size` is at most MOST.
    """
    assert size <= MOST[split]
    rng = random.Random(f"{seed}-word-problems-{split}")
    problems: dict[str, Problem] = {}
    while len(problems) < size:
        index = len(problems) % len(templates)
        template = templates[index]
        problem = _render(template, _draw_numbers(index, template, split, rng), split, rng)
        problems.setdefault(problem.text, problem)
    ordered = list(problems.values())
    rng.shuffle(ordered)
    return ordered


def _draw_numbers(index: int, template: Template, split: Split, rng: random.Random) -> dict[str, int]:
    """Numbers that belong to `split` and give a positive whole number at every step of the template."""
    while True:
        numbers = {name: rng.randint(low, high) for name, (low, high) in template.numbers.items()}
        if _belongs_to(index, numbers) == split and _work(template, numbers) is not None:
            return numbers


def _belongs_to(index: int, numbers: Mapping[str, int]) -> Split:
    return "eval" if zlib.crc32(f"{index}:{sorted(numbers.items())}".encode()) % EVAL_SHARE == 0 else "train"


def _work(template: Template, numbers: Mapping[str, int]) -> tuple[list[str], int] | None:
    """The worked steps and the final result, or None where a step does not give a positive whole number."""
    known, lines, value = {"2": 2, **numbers}, [], 0
    for step in template.steps:
        part = STEP.fullmatch(step)
        assert part is not None, f"not a step: {step}"
        left, right = known[part["left"]], known[part["right"]]
        exact = SIGNS[part["sign"]](left, right)
        if exact < 1 or exact != int(exact):
            return None
        value = known[part["result"]] = int(exact)
        lines.append(f"{part['reason'].capitalize()}: {left} {part['sign']} {right} = {value}.")
    return lines, value


def _render(template: Template, numbers: Mapping[str, int], split: Split, rng: random.Random) -> Problem:
    name, friend = rng.sample(NAMES[split], 2)
    worked = _work(template, numbers)
    assert worked is not None, "numbers are drawn so that every step works"
    lines, answer = worked
    words = {"name": name, "friend": friend, "things": rng.choice(THINGS), "place": rng.choice(PLACES)}
    text = template.text.format(**words, **numbers)
    return Problem(text, "\n".join([*lines, f"#### {answer}"]), str(answer))
