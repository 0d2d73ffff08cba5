"""Math: word problems from GSM8K (or the synthetic generator), and the grader of a chat answer's number."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from pathlib import Path

from l2s import hub
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import Row, checked_field, numbered_rows
from l2s.tasks import word_problems
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.final_number import final_number
from l2s.tasks.numbers import first_number
from l2s.tasks.task import COMMON_NAMES, Lengths, Names, Split, Task
from l2s.tasks.types import Grade, Item
from l2s.tasks.working import math_working

STATUSES = ("correct", "wrong", "no_answer", "truncated")
METRIC = "exact match"

PROMPT = (
    "Solve the following problem step by step. End with a line of the form `#### <number>` that holds only the final "
    "answer as a number.\n\n{problem}"
)
SHORT_PROMPT = (
    "{problem} End with a line `#### <number>`."  # for one-step problems; reading prompts takes a laptop long
)
HUB_NAME = "openai/gsm8k"
CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K's calculator annotations, as in "16 - 3 = <<16-3=13>>13"
ONE_STEP = "synthetic-one-step"
SIZES: dict[Split, str] = {"train": "math_train_size", "eval": "math_eval_size"}
SYNTHETIC = {"synthetic": "synthetic", "one_step": ONE_STEP}  # math_source -> source of its items

# Data ----------------------------------------------------------------------------------------------------------------


def train_items(config: ExperimentConfig) -> list[Item]:
    """`math_train_size` training items from the source that `math_source` names; deterministic in the seed.

    Raises:
        UserError: the source cannot be had, is damaged or has too few problems.
    """
    return _items(config, "train", config.math_train_size, "math_train_size")


def eval_items(config: ExperimentConfig) -> list[Item]:
    """`math_eval_size` evaluation items, from GSM8K's test split or the generator; otherwise like `train_items`."""
    return _items(config, "test", config.math_eval_size, "math_eval_size")


def _items(config: ExperimentConfig, split: str, size: int, field: str) -> list[Item]:
    if size == 0:
        return []
    if config.math_source in SYNTHETIC:
        templates = word_problems.ONE_STEP if config.math_source == "one_step" else word_problems.TEMPLATES
        share: Split = "train" if split == "train" else "eval"
        problems = word_problems.generate(share, size, seed=config.seed, templates=templates)
        source = SYNTHETIC[config.math_source]
        return [_item(source, split, index, *problem) for index, problem in enumerate(problems)]
    rows = [_problem(row, place) for place, row in _gsm8k_rows(config, split)]
    if size > len(rows):
        raise UserError(f"{field}={size}: GSM8K's {split} split has {len(rows)} problems; ask for at most that many")
    chosen = random.Random(f"{config.seed}-gsm8k-{split}").sample(range(len(rows)), size)
    return [_item("gsm8k", split, index, *rows[index]) for index in chosen]


def check(config: ExperimentConfig, domains: Collection[str]) -> None:
    """Refuse to ask the generator for more problems than it has.

    Raises:
        UserError: a size is too large.
    """
    chosen = config.domains == "auto" or "math" in [name.strip() for name in config.domains.split(",")]
    if not chosen or config.math_source not in SYNTHETIC:
        return
    for split, field in SIZES.items():
        size, most = getattr(config, field), word_problems.MOST[split]
        if size > most:
            raise UserError(
                f"{field}={size}: math_source={config.math_source!r} has {most} different problems for it; ask for at "
                "most that many, or train on data of your own (--train_file)"
            )


def _item(source: str, split: str, index: int, problem: str, solution: str, answer: str) -> Item:
    prompt = SHORT_PROMPT if source == ONE_STEP else PROMPT
    return Item(
        id=f"{source}-{split}-{index:05d}",
        domain="math",
        source=source,
        messages=[{"role": "user", "content": prompt.format(problem=problem)}],
        reference=answer,
        meta={"problem": problem, "solution": solution},
    )


def _problem(row: Row, place: str) -> tuple[str, str, str]:
    """Problem, worked solution and the number after its `####`."""
    try:
        question, solution = (checked_field(row, name, str, place) for name in ("question", "answer"))
    except ValueError as error:
        raise UserError(str(error)) from None
    answer = _gold(solution)
    if answer is None:
        raise UserError(f"{place}: the field 'answer' does not end with `#### <number>`; repair or remove this row")
    return question, solution, answer


def _gold(solution: str) -> str | None:
    _, marker, number = solution.rpartition("####")
    number = number.strip().replace(",", "")
    return number if marker and re.fullmatch(r"-?\d+(\.\d+)?", number) else None


def _gsm8k_rows(config: ExperimentConfig, split: str) -> list[tuple[str, Row]]:
    """The rows of a split, each with its place for errors: file and line, or data set and row."""
    if config.data_dir is None:
        place = f"math_source='gsm8k': hub dataset {HUB_NAME}, split {split}"
        return [(f"{place}, row {number}", row) for number, row in enumerate(_hub_rows(split), start=1)]
    folder, file = f"data_dir={str(config.data_dir)!r}", config.data_dir / "gsm8k" / f"{split}.jsonl"
    try:
        return [(f"{folder}: {file}, line {number}", row) for number, row in numbered_rows(file)]
    except FileNotFoundError:
        raise UserError(
            f"{folder}: {file}: there is no such file; put GSM8K there, or leave --data_dir and L2S_DATA unset "
            f"to fetch {HUB_NAME} from the hub"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: {file} cannot be read ({error.strerror}); give the file itself") from None
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from None


def _hub_rows(split: str) -> list[Row]:
    """One split of GSM8K from the hub; every failure there leaves the user the same three ways out."""
    try:
        return hub.dataset_rows(HUB_NAME, "main", split)
    except hub.HubError as error:
        raise UserError(
            f"math_source='gsm8k': cannot fetch {HUB_NAME} from the hub ({error}); give it access to the network, set "
            "HF_ENDPOINT to a mirror, or set --data_dir (or L2S_DATA) to a folder with gsm8k/train.jsonl and "
            "gsm8k/test.jsonl"
        ) from None


# Grading -------------------------------------------------------------------------------------------------------------


def grade_item(item: Item, response: str, *, finish_reason: str = "stop") -> Grade:
    """Grade the answer to one math item; see `grade`."""
    return grade(response, item["reference"], finish_reason=finish_reason)


def grade(response: str, reference: str, *, finish_reason: str = "stop") -> Grade:
    """Score 1 if the number that `response` gives as its answer equals `reference` as a decimal number, else 0.

    `reference` is a number in any notation that an answer may have ("1,234"), or a text with `#### <number>`.
    `details` holds the verdicts of lm-evaluation-harness's gsm8k task on the same response.

    Raises:
        ValueError: `reference` holds no number.
    """
    gold = str(reference).rpartition("####")[2]
    expected = first_number(gold)
    if expected is None:
        raise ValueError(f"reference {reference!r} holds no number")
    details = harness_verdicts(response, gold.strip())
    visible = without_thinking(response)
    if visible is None or finish_reason == "length":
        return Grade(0.0, "truncated", None, details)
    answer = final_number(visible)
    if answer is None:
        return Grade(0.0, "no_answer", None, details)
    correct = answer == expected
    return Grade(float(correct), "correct" if correct else "wrong", f"{answer:f}", details)


# lm-evaluation-harness, task gsm8k version 3: how it finds the answer, and what it deletes before the comparison.
STRICT_MATCH = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE_EXTRACT = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
HARNESS_IGNORES = (re.compile(","), re.compile(r"\$"), re.compile(r"(?s).*#### "), re.compile(r"\.$"))


def harness_verdicts(response: str, gold: str) -> dict[str, bool]:
    """The verdicts of lm-evaluation-harness's strict-match and flexible-extract on `response`, thinking included."""
    strict = STRICT_MATCH.search(response)
    flexible = [match.group() for match in FLEXIBLE_EXTRACT.finditer(response)]
    return {
        "strict_match": strict is not None and _harness_equal(strict.group(1), gold),
        "flexible_extract": bool(flexible) and _harness_equal(flexible[-1], gold),
    }


def _harness_equal(answer: str, gold: str) -> bool:
    for ignored in HARNESS_IGNORES:
        answer, gold = ignored.sub("", answer), ignored.sub("", gold)
    return answer == gold


# The Task of this domain ---------------------------------------------------------------------------------------------

LENGTHS = {  # with the tokenizer, template and answers of Qwen2.5-Coder-1.5B
    "gsm8k": Lengths("gsm8k", 121, 238, 260, 420, 88),
    "synthetic": Lengths("synthetic", 89, 102, 200, 350, 32),
    "one_step": Lengths("one_step", 64, 68, 18, 19, 16),  # with SmolLM2's; answers are the reference solutions
}


def _lengths(split: Split, config: ExperimentConfig) -> Lengths:
    return LENGTHS[config.math_source]


def _files(config: ExperimentConfig) -> list[Path]:
    return [config.data_dir / "gsm8k"] if config.data_dir and config.math_source == "gsm8k" else []


TASK = Task(
    name="math",
    title=Names("math", "数学"),
    metric=lambda config: METRIC,
    statuses=STATUSES,
    train_items=train_items,
    eval_items=eval_items,
    grade=lambda item, response, finish_reason, config: grade_item(item, response, finish_reason=finish_reason),
    lengths=_lengths,
    trial={"math_source": "synthetic", "math_train_size": 4, "math_eval_size": 2},
    names=COMMON_NAMES
    | {
        METRIC: Names("exact match", "精确匹配率"),
        "strict_match": Names("strict_match", "lm-eval 严格匹配"),
        "flexible_extract": Names("flexible_extract", "lm-eval 宽松提取"),
    },
    settings=("math_source",),
    files=_files,
    check=check,
    stand_ins={
        "synthetic": Names(
            "The math problems are synthetic: scores on them say nothing about GSM8K.",
            "数学题是合成的：其得分不能说明 GSM8K 上的表现。",
        ),
        ONE_STEP: Names(
            "The math problems are synthetic, with one step and small numbers: scores on them say nothing about GSM8K.",
            "数学题是合成的，只有一步且数字很小：其得分不能说明 GSM8K 上的表现。",
        ),
    },
    solution=lambda item: CALCULATION.sub("", item["meta"]["solution"]),
    working=lambda item, response: math_working(response),
)
