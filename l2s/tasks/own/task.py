"""The `Task` of the user's own data, and the checks of its settings before anything is loaded."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from l2s.config import ExperimentConfig
from l2s.errors import UserError, shown_path
from l2s.tasks.own import user_code
from l2s.tasks.own.files import RowsOfFile
from l2s.tasks.own.graders import STATUSES, grade, grader_of, is_graded
from l2s.tasks.own.rows import NAME, check_number_of_domains, check_system_prompt, make_items
from l2s.tasks.task import COMMON_NAMES, NOT_GRADED, Lengths, Names, Split, Task, rough_tokens
from l2s.tasks.types import Item

FILES: dict[Split, str] = {"train": "train_file", "eval": "eval_file"}
ALL = "all"  # the name for all domains together in results
ANSWER_TOKENS, LONGEST_ANSWER_TOKENS = 200, 400  # assumed; unknown before the teacher has answered
TEMPLATE_TOKENS = 20
LONGEST_LABEL = 60  # characters of a reference that may be the label of a class


def check(config: ExperimentConfig, domains: Collection[str]) -> None:
    """Read both files and try the grader; `domains` are names that rows must not use.

    Raises:
        UserError: a setting, a row or the grader cannot be used; names file, line, field, value and fix.
    """
    if not _is_chosen(config):
        _check_nothing_is_given(config)
        return
    for field, other in ((FILES["train"], FILES["eval"]), (FILES["eval"], FILES["train"])):
        if getattr(config, field) is None:
            given = getattr(config, other)
            found = f"{other}={shown_path(given)}" if given else f"domains={config.domains!r}"
            raise UserError(
                f"{found}: --{field} is missing; your own data is a file to train on and one to evaluate on"
            )
    check_system_prompt(config.system_prompt)
    taken = tuple(name for name in (*domains, ALL) if name != NAME)
    train, evaluation = _items("train", config, taken), _items("eval", config, taken)
    from_teacher = config.answers_in(NAME) == "teacher"
    if config.keep_correct and from_teacher and not is_graded(train[0], config):
        reason = "grades nothing" if config.own_grader == "none" else "needs references, and train_file has none"
        raise UserError(
            f"keep_correct=True: own_grader={config.own_grader!r} {reason}, so that no answer is known to be right; "
            "set --keep_correct false, or give references and a grader"
        )
    if user_code.parse_spec(config.own_grader):
        user_code.check(config, evaluation[0])


def _is_chosen(config: ExperimentConfig) -> bool:
    if config.domains == "auto":
        return config.train_file is not None or config.eval_file is not None
    return NAME in [name.strip() for name in config.domains.split(",")]


def _check_nothing_is_given(config: ExperimentConfig) -> None:
    """Refuse settings of own data without own data."""
    for field in (*FILES.values(), "own_grader", "system_prompt"):
        value, default = getattr(config, field), ExperimentConfig.model_fields[field].default
        if value != default:
            fix = f"add {NAME} to --domains" if config.domains != "auto" else "give --train_file and --eval_file"
            raise UserError(f"{field}={shown_path(value)}: is for data of your own, which this run does not use; {fix}")


def train_items(config: ExperimentConfig) -> Sequence[Item]:
    """The rows of `train_file`, in order."""
    return _items("train", config)


def eval_items(config: ExperimentConfig) -> Sequence[Item]:
    """The rows of `eval_file`, in order."""
    return _items("eval", config)


def _items(split: Split, config: ExperimentConfig, taken: tuple[str, ...] = ()) -> Sequence[Item]:
    path = getattr(config, FILES[split])
    if path is None:
        raise UserError(f"domains={config.domains!r}: --{FILES[split]} is missing; it names the file with your data")
    return _read(split, path, _changed(path), config.own_grader, config.system_prompt, taken)


def _changed(path: Path) -> int:
    """The time of a file's last write. If the file is missing, reading it raises the error."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


@cache
def _read(
    split: Split, path: Path, changed: int, own_grader: str, system_prompt: str, taken: tuple[str, ...]
) -> Sequence[Item]:
    """The items of a file as it is now; the file is read once for all callers."""
    rows = RowsOfFile(FILES[split], path)
    items = make_items(rows, split, grader_of(own_grader), system_prompt, taken)
    check_number_of_domains(FILES[split], items)
    return items


def _files(config: ExperimentConfig) -> list[Path]:
    return [path for path in (config.train_file, config.eval_file) if path]


def _grader_files(config: ExperimentConfig) -> list[Path]:
    spec = user_code.parse_spec(config.own_grader)
    return [spec.file] if spec else []


def _lengths(split: Split, config: ExperimentConfig) -> Lengths:
    """The lengths of the file's prompts and references, roughly."""
    items = _items(split, config)
    prompts = array("q", map(_prompt_tokens, items))
    prompt = sum(prompts) / len(items)
    solution = sum(rough_tokens(_solution(item) or "") for item in items) / len(items)
    return Lengths("own data, answers assumed,", prompt, max(prompts), ANSWER_TOKENS, LONGEST_ANSWER_TOKENS, solution)


def _prompt_tokens(item: Item) -> int:
    return rough_tokens("".join(message["content"] for message in item["messages"])) + TEMPLATE_TOKENS


def _solution(item: Item) -> str | None:
    """The reference as a training answer, None where it says nothing; a value that is no text is written as JSON."""
    reference = item["reference"]
    if reference is None or isinstance(reference, str):
        return reference if reference and reference.strip() else None
    return json.dumps(reference, ensure_ascii=False)


def _label(item: Item) -> str | None:
    """The reference where it is short, as the label of a class is."""
    text = _solution(item)
    return text if text and len(text) <= LONGEST_LABEL and "\n" not in text else None


def _note(config: Mapping[str, Any]) -> Names:
    """How these scores are made."""
    spec = config["own_grader"]
    if spec == "none":
        return Names(
            "Your own data was not graded (own_grader=none): it has no score, only fidelity and length.",
            "自有数据未评分（own_grader=none）：没有得分，只有接近程度和长度。",
        )
    if user_code.parse_spec(spec):
        return Names(
            f"Your own data was graded by your own code ({spec}), which this project has not checked.",
            f"自有数据由您自己的代码评分（{spec}），本项目未检验该代码。",
        )
    return Names(f"Your own data was graded by own_grader={spec}.", f"自有数据的评分器：own_grader={spec}。")


TASK = Task(
    name=NAME,
    title=Names("own data", "自有数据"),
    metric=lambda config: grader_of(config.own_grader).metric,
    statuses=STATUSES,
    train_items=train_items,
    eval_items=eval_items,
    grade=grade,
    lengths=_lengths,
    trial={},
    names=COMMON_NAMES
    | {
        "exact match": Names("exact match", "精确匹配率"),
        "contains the reference": Names("contains the reference", "包含参考答案"),
        "right number": Names("right number", "数值正确率"),
        "equal JSON": Names("equal JSON", "JSON 相等率"),
        "right choice": Names("right choice", "选择正确率"),
        "own code": Names("graded by own code", "自有代码评分"),
        "not graded": Names("not graded", "未评分"),
        "partial": Names("partial", "部分正确"),
        NOT_GRADED: Names("not_graded", "未评分"),
        "grader_raised": Names("grader_raised", "评分代码出错"),
        "grader_timeout": Names("grader_timeout", "评分代码超时"),
        "grader_invalid": Names("grader_invalid", "评分代码返回值无效"),
    },
    settings=("train_file", "eval_file", "system_prompt"),
    grading=("own_grader", "own_timeout_s"),
    files=_files,
    grader_files=_grader_files,
    by_default=_is_chosen,
    check=check,
    count=lambda split, config: len(_items(split, config)),
    faults=user_code.FAULTS,
    note=_note,
    solution=_solution,
    kind=_label,
)
