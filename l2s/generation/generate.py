"""Stage `generate`: the teacher answers the training items, for the students to learn from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l2s.chat import ChatRenderer, Renderers, load_renderers
from l2s.config import ExperimentConfig
from l2s.devices import replica
from l2s.errors import UserError
from l2s.generation.answers import (
    POLL_S,
    answer_items,
    check_prompts_fit,
    count_unclosed_thinking,
    read_answers,
    smallest_batch,
)
from l2s.generation.context import teacher_messages
from l2s.generation.curation import curate, different, is_empty, never_right, usable
from l2s.generation.engines.protocol import Answering, Completion, Metered, ModelChoice, Sampling
from l2s.generation.engines.table import choose_engine, open_engine
from l2s.jsonl import Row, load_jsonl, make_folder, remove, write_jsonl
from l2s.metrics import GenerateMetrics, Try
from l2s.run_dir import RunDir
from l2s.sealed import read_sealed, write_sealed
from l2s.tasks.table import grade_all, task_of
from l2s.tasks.task import NOT_GRADED
from l2s.tasks.types import Grade, Item, Message
from l2s.warning import Warned, warned

SAME_ANSWERS_LIMIT = 0.9  # share of one text among the answers of a domain, from which the teacher is in doubt
FEWEST_FOR_SAME = 8  # answers below which this means little
CUT_ANSWERS_LIMIT = 0.1  # share of cut teacher answers above which students learn to stop mid-answer


def run(config: ExperimentConfig, run_dir: RunDir) -> GenerateMetrics:
    """Answer train_dataset.jsonl and write sft_train_data.jsonl in its order.

    With `answers=reference` the answers are the reference solutions of the data, and no model is loaded. Otherwise each
    item is asked `answers_per_item` times. With `keep_correct` it is asked until it has that many different right
    answers, up to `max_tries` times. l2s.generation.curation chooses what is kept. The last answer of an item without a
    usable one goes to rejected.jsonl. never_right.jsonl lists the items that no answer gets right.
    """
    items: list[Item] = load_jsonl(run_dir.train_data)  # type: ignore[assignment]
    renderers = load_renderers(config)
    if config.answers == "reference":
        if replica()[0] != 0:
            return {}
        rows = reference_answers(items, renderers.student)
        no_room = _check_room_for_answers(items, renderers.student, config)
        make_folder(run_dir.sft)
        write_jsonl(run_dir.rejected, [])
        write_jsonl(run_dir.never_right, [])
        write_jsonl(run_dir.responses, rows)
        return _metrics(rows, [], no_room)
    renderer = renderers.teacher
    asked = teacher_messages(items, config)
    _check_all_prompts_fit(items, asked, renderers, config, run_dir)
    no_room = _check_room_for_answers(items, renderers.student, config)
    fits = smallest_batch(*run_dir.answer_log.glob("try-*.jsonl"))
    choice = ModelChoice.of_teacher(config, batch_size=config.generation_batch_size, fits=fits)
    with open_engine(choice, renderer, config) as engine:
        metered = Metered(engine)
        collected = collect(items, asked, metered, renderer, config, run_dir)
        peak_bytes = engine.cost().peak_memory_bytes
    if replica()[0] != 0:
        return {}
    curated = curate(items, collected.answers, config)
    rows = curated.kept
    write_jsonl(run_dir.rejected, curated.rejected)
    write_jsonl(run_dir.never_right, never_right(items, collected.answers))
    if not rows:
        empty = sum(is_empty(row["response"]) for tried in collected.answers.values() for row in tried)
        raise UserError(
            f"keep_correct={config.keep_correct}, teacher_context={config.teacher_context!r}: no answer to any of "
            f"{len(items)} items can be learned from ({empty} are empty); turn keep_correct off, raise --max_tries or "
            f"--max_new_tokens, or use a stronger teacher; {run_dir.rejected} has the last answer to each"
        )
    if not renderers.share_vocabulary:  # only SFT can learn from a remote teacher, from its text
        rows = [row | {"token_ids": None} for row in rows]
    write_jsonl(run_dir.responses, rows)
    return {
        **_metrics(rows, curated.rejected, [*no_room, *_empty_answers(collected)]),
        "tries": collected.tries,
        "curation": curated.counts,
        "engine": choose_engine(config).metric(),
        "tokens_per_second": metered.tokens_per_second,
        "peak_memory_bytes": peak_bytes,
    }


def reference_answers(items: Sequence[Item], renderer: ChatRenderer) -> list[Row]:
    """The reference solutions as answers: for SFT, and for KD of the teacher's distribution over them.

    Raises:
        UserError: no item has a reference solution.
    """
    rows: list[Row] = []
    for item in items:
        solution = task_of(item["domain"]).solution(item)
        if solution is not None:
            num_tokens = len(renderer.answer_ids(item["messages"], solution))
            answer = Completion(item["id"], solution, "stop", num_tokens, seconds=0.0)
            rows.append(_row(item, item["messages"], answer, None, None, "reference"))
    if not rows:
        raise UserError("answers='reference': no training item has a reference solution; use --answers teacher")
    if len(rows) < len(items):
        print(f"answers=reference: {len(items) - len(rows)} of {len(items)} items have no reference solution; left out")
    return rows


def _check_all_prompts_fit(
    items: Sequence[Item],
    asked: Mapping[str, list[Message]],
    renderers: Renderers,
    config: ExperimentConfig,
    run_dir: RunDir,
) -> None:
    """Check the prompts of training and evaluation for both models, so that no failure comes after the training."""
    evaluated: list[Item] = load_jsonl(run_dir.eval_data) if run_dir.eval_data.exists() else []  # type: ignore[assignment]
    check_prompts_fit(evaluated, renderers.student, config.student_model, config)
    if not config.remote_teacher:
        shown = [_asked_with(item, asked) for item in items]
        check_prompts_fit([*shown, *evaluated], renderers.teacher, config.teacher_model, config)


def _asked_with(item: Item, asked: Mapping[str, list[Message]]) -> Item:
    return {**item, "messages": asked[item["id"]]}


@dataclass
class CollectedAnswers:
    """Graded answers by item id, in the order of the tries, and the counts of each try."""

    answers: dict[str, list[Row]]
    tries: list[Try]


def collect(
    items: Sequence[Item],
    asked_with: Mapping[str, list[Message]],
    engine: Answering,
    renderer: ChatRenderer,
    config: ExperimentConfig,
    run_dir: RunDir,
) -> CollectedAnswers:
    """Answer and grade `items`, as often as `run` says; the teacher reads `asked_with`."""
    result = CollectedAnswers({item["id"]: [] for item in items}, [])
    number = max(config.max_tries, config.answers_per_item) if config.keep_correct else config.answers_per_item
    for attempt in range(number):
        asked = [item for item in items if _wants_more(item, result, config)]
        if not asked:
            break
        sampling = _sampling(config, attempt)
        log = run_dir.answers_of_try(attempt)
        shown = [_asked_with(item, asked_with) for item in asked]
        answers = answer_items(shown, engine, renderer, sampling, log, label=f"generate, try {attempt + 1}")
        if replica()[0] != 0 and not config.keep_correct:
            continue  # the first replica grades; here the grades do not decide what is asked next
        grades = _grade_once(asked, answers, config, run_dir.grades(attempt))
        answers = read_answers(log, {item["id"] for item in asked})  # of all replicas
        for item, grade in zip(asked, grades, strict=True):
            row = _row(item, asked_with[item["id"]], answers[item["id"]], grade, sampling, config.teacher_model)
            result.answers[item["id"]].append(row)
        scores = [grade.score for grade in grades if grade is not None]
        if scores:
            result.tries.append({"try": attempt + 1, "asked": len(scores), "correct": scores.count(1)})
    return result


def _wants_more(item: Item, collected: CollectedAnswers, config: ExperimentConfig) -> bool:
    """Whether the item lacks answers; without `keep_correct` every try asks every item."""
    found = different(item, usable(collected.answers[item["id"]], config)) if config.keep_correct else []
    return len(found) < config.answers_per_item


def _grade_once(
    asked: Sequence[Item], answers: Mapping[str, Completion], config: ExperimentConfig, file: Path
) -> list[Grade | None]:
    """Grades of the answers to `asked`. The first replica writes them to `file`, and the others wait for it.

    So all replicas agree on what is asked again. A resumed run reads the grades too: a program near its time limit is
    not run twice.
    """
    ids = [item["id"] for item in asked]
    while (kept := _kept_grades(file)).keys() != set(ids) and replica()[0] != 0:
        time.sleep(POLL_S)
    if kept.keys() == set(ids):
        return [Grade(**kept[id_]) if kept[id_] else None for id_ in ids]
    grades = grade_all([(item, answers[item["id"]].text, answers[item["id"]].finish_reason) for item in asked], config)
    remove(file)
    write_sealed(file, {id_: asdict(grade) if grade else None for id_, grade in zip(ids, grades, strict=True)})
    return grades


def _kept_grades(file: Path) -> dict[str, Any]:
    """What `_grade_once` left in `file`; nothing where it is missing or damaged."""
    try:
        return read_sealed(file)
    except (FileNotFoundError, ValueError):
        return {}


def _sampling(config: ExperimentConfig, attempt: int) -> Sampling:
    temperature = config.sampling_temperature if attempt == 0 else config.retry_temperature
    return Sampling(config.max_new_tokens, temperature, config.sampling_top_p, config.seed + attempt)


def _row(
    item: Item,
    asked_with: list[Message],
    answer: Completion,
    grade: Grade | None,
    sampling: Sampling | None,
    teacher: str,
) -> Row:
    return {
        **item,
        **({} if asked_with == item["messages"] else {"teacher_messages": asked_with}),
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "num_tokens": answer.num_tokens,
        "token_ids": answer.token_ids,
        "teacher": teacher,
        "sampling": asdict(sampling) if sampling else None,
        "graded": {"score": grade.score, "status": grade.status} if grade else {"score": None, "status": NOT_GRADED},
    }


def _check_room_for_answers(items: Sequence[Item], student: ChatRenderer, config: ExperimentConfig) -> list[Warned]:
    """A warning where the student's prompts leave no token of max_length for an answer: these items teach nothing.

    Raises:
        UserError: none leaves any.
    """
    lengths = [len(student.prompt_ids(item["messages"])) for item in items]
    full = sum(length >= config.max_length for length in lengths)
    if full == len(items):
        raise UserError(
            f"max_length={config.max_length}: each of the {full} training prompts has that many tokens or more (the "
            f"shortest {min(lengths)}), so no answer could be learned from; raise --max_length, or shorten the prompts"
        )
    return [warned("no_room", found=full, n=len(items), limit=config.max_length)] if full else []


def _empty_answers(collected: CollectedAnswers) -> list[Warned]:
    """A warning for each domain with answers that say nothing."""
    rows = [row for tried in collected.answers.values() for row in tried]
    asked = Counter(row["domain"] for row in rows)
    empty = Counter(row["domain"] for row in rows if is_empty(row["response"]))
    return [
        warned("empty_answers", found=empty[domain], n=asked[domain], domain=domain)
        for domain in asked
        if empty[domain]
    ]


def _same_answers(rows: Sequence[Row]) -> list[Warned]:
    """A warning for each domain in which nearly all items got one and the same answer."""
    found = []
    for domain in dict.fromkeys(row["domain"] for row in rows):
        texts = Counter(row["response"].strip() for row in rows if row["domain"] == domain)
        (_, most), number = texts.most_common(1)[0], texts.total()
        if number >= FEWEST_FOR_SAME and most >= SAME_ANSWERS_LIMIT * number:
            found.append(warned("same_answers", found=most, n=number, domain=domain))
    return found


def _metrics(rows: list[Row], rejected: list[Row], warnings: Sequence[Warned] = ()) -> GenerateMetrics:
    domains = Counter(row["domain"] for row in rows)
    cut = Counter(row["domain"] for row in rows if row["finish_reason"] == "length")
    warnings = [*warnings, *_same_answers(rows)]
    warnings += [
        warned("cut_answers", found=cut[domain], n=number, domain=domain)
        for domain, number in domains.items()
        if cut[domain] > CUT_ANSWERS_LIMIT * number
    ]
    unclosed = Counter(
        row["domain"] for row in rows if row["finish_reason"] == "stop" and count_unclosed_thinking([row])
    )
    warnings += [
        warned("unclosed_thinking", found=unclosed[domain], n=number, domain=domain)
        for domain, number in domains.items()
        if unclosed[domain] > CUT_ANSWERS_LIMIT * number
    ]
    return {
        "num_responses": len(rows),
        "num_rejected": len(rejected),
        "num_tokens": sum(row["num_tokens"] for row in rows),
        "truncated": sum(cut.values()),
        "unclosed_thinking": count_unclosed_thinking(rows),
        "mean_score": _mean_scores(rows),
        "warnings": warnings,
    }


def _mean_scores(rows: list[Row]) -> dict[str, float]:
    """Mean score by domain, over the graded answers."""
    scores: dict[str, list[float]] = {}
    for row in rows:
        if row["graded"]["score"] is not None:
            scores.setdefault(row["domain"], []).append(row["graded"]["score"])
    return {domain: sum(found) / len(found) for domain, found in scores.items()}
