"""The `Task` of this domain."""

from __future__ import annotations

from l2s.config import ExperimentConfig
from l2s.tasks.aiops.blind_answers import blind_scores
from l2s.tasks.aiops.control_answers import controls
from l2s.tasks.aiops.items import eval_items, train_items
from l2s.tasks.aiops.scoring import METRIC, STATUSES, grade
from l2s.tasks.task import BLIND, COMMON_NAMES, Lengths, Names, Split, Task

# By aiops_log_lines: mean and longest prompt, with Qwen's tokenizer. Few logs have more than 25 lines.
PROMPTS = {15: (739, 1015), 20: (840, 1270), 25: (918, 1360), 40: (975, 1386)}
ANSWERS = (100, 210, 50)  # of Qwen2.5-Coder-1.5B; and the reference solutions


def _lengths(split: Split, config: ExperimentConfig) -> Lengths:
    import numpy as np  # only a plan needs it

    lines = config.aiops_log_lines
    mean, longest = (np.interp(lines, list(PROMPTS), values) for values in zip(*PROMPTS.values(), strict=True))
    return Lengths("aiops" if lines == 40 else f"aiops, {lines} lines", float(mean), round(float(longest)), *ANSWERS)


TASK = Task(
    name="aiops",
    title=Names("AIOps", "AIOps"),
    metric=lambda config: METRIC,
    statuses=STATUSES,
    train_items=train_items,
    eval_items=eval_items,
    grade=lambda item, response, finish_reason, config: grade(item, response, finish_reason=finish_reason),
    lengths=_lengths,
    trial={"aiops_train_size": 2, "aiops_eval_size": 1},
    names=COMMON_NAMES
    | {
        METRIC: Names("concept rate", "关键词匹配率"),
        "partial": Names("partial", "部分正确"),
        "wrong_cause": Names("wrong_cause", "归因错误"),
        "too_long": Names("too_long", "过长"),
        "all_required": Names("all required", "要点齐全"),
        "healthy": Names("healthy logs", "健康的日志"),
        "fault": Names("logs with a fault", "有故障的日志"),
        "gold": Names("the reference answer", "参考答案"),
        "log_echo": Names("the log, echoed", "照抄日志"),
        "keyword_stuffing": Names("a list of keywords", "堆砌关键词"),
        "majority_answer": Names("the most common answer", "最常见的答案"),
        "another_items_answer": Names("another item's answer", "别题的答案"),
        "hedging": Names("the reference and three wrong causes", "参考答案加三个错误原因"),
        f"{BLIND}en": Names("blind answers, English (ceiling)", "英文盲答（上限）"),
        f"{BLIND}zh": Names("blind answers, Chinese (ceiling)", "中文盲答（上限）"),
    },
    settings=("aiops_log_lines", "aiops_language"),
    cluster_fields=("style", "family"),  # healthy logs of two styles share no entry, as two faults share none
    strict_detail="all_required",
    kind=lambda item: "healthy" if item["meta"]["healthy"] else "fault",
    controls=lambda items: (
        controls(items) | {f"{BLIND}{language}": score for language, score in blind_scores().items()}
    ),
    note=lambda config: Names(
        "Concept rate: the share of an item's key concepts that the answer names. AIOps items are resampled by fault "
        "family, healthy ones by log style. All required: the share of AIOps answers that name every concept and no "
        "wrong cause.",
        "关键词匹配率：一道题的关键概念中，回答说出的比例。"
        "AIOps 按故障族重抽样，无故障的日志按日志类型。要点齐全：说出全部要点且没有误判原因的 AIOps 回答所占比例。",
    ),
)
