"""Stage `generate`: the teacher answers the training items, for the students to learn from."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from l2s.chat import ChatRenderer, Renderers, load_renderers
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.devices import replica
from l2s.durable import make_folder, replacing_file
from l2s.errors import UserError, shown_path
from l2s.generation.answers import check_prompts_fit, find_markup
from l2s.generation.collect import collect, shown_item
from l2s.generation.context import context_of, files_of, read_context, teacher_messages
from l2s.generation.curation import Choice, Curator
from l2s.generation.engines.protocol import Metered, ModelChoice
from l2s.generation.engines.table import choose_engine, open_engine
from l2s.generation.references import References
from l2s.generation.tally import Tally
from l2s.generation.whose_answers import learns_reference
from l2s.jsonl import Row, dump_row, load_jsonl
from l2s.metrics import GenerateMetrics
from l2s.models.load import load_config
from l2s.models.stored import context_window
from l2s.on_disk import RowsOnDisk, chosen
from l2s.run_dir import RunDir
from l2s.tasks.types import Item
from l2s.warning import Warned, warned


def run(config: ExperimentConfig, run_dir: RunDir) -> GenerateMetrics:
    """Answer train_dataset.jsonl and write sft_train_data.jsonl in its order.

    In domains with `answers=reference` the answers are the reference solutions of the data; if these are all, no model
    is loaded. Every other item is asked `answers_per_item` times. With `keep_correct` it is asked until it has that
    many different right answers, up to `max_tries` times. l2s.generation.curation chooses what is kept. The last answer
    of an item without a usable one goes to rejected.jsonl. never_right.jsonl lists the items that no answer gets right.
    Items and answers stay on disk; memory holds where each one is.

    The rows hold the teacher's prompt where `teacher_context` adds to it; the signals of KD are taken after it.
    """
    items = cast("Sequence[Item]", RowsOnDisk(run_dir.train_data))
    renderers = load_renderers(config)
    _check_evaluation_fits(renderers, config, run_dir)
    renderer = renderers.teacher
    asked = teacher_messages(items, config)
    answered = chosen(items, _numbers(items, lambda item: not learns_reference(item, config)))
    solved = chosen(items, _numbers(items, lambda item: learns_reference(item, config)))
    if not config.remote_teacher:
        read = chosen(items, _numbers(items, lambda item: _is_read(item, config)))
        _check_files_fit(read, renderer, config)
        shown = (shown_item(item, asked) for item in read)
        check_prompts_fit(shown, renderer, config.teacher_model, config, context=config.teacher_context)
    references = References(asked, renderers.student, config)
    if not answered:
        return _take_references(items, references, renderers, config, run_dir) if replica()[0] == 0 else {}
    warnings = _check_room_for_answers(items, renderers.student, config)
    warnings += find_markup("markup_train", (shown_item(item, asked) for item in answered), renderer)
    choice = ModelChoice.of_teacher(config, batch_size=config.generation_batch_size)
    with open_engine(choice, renderer, config) as engine:
        metered = Metered(engine)
        collected = collect(answered, asked, metered, renderer, config, run_dir)
        peak_bytes = engine.cost().peak_memory_bytes
    if replica()[0] != 0:
        return {}
    curator = Curator(answered, collected.answers, config, others=solved)

    def choose(item: Item) -> Choice:
        if learns_reference(item, config):
            return references.choose(item)
        choice = curator.choose(item, collected.answers[item["id"]])
        return choice if renderers.share_vocabulary else choice.without_ids()  # of a remote teacher: text for SFT

    def nothing(tally: Tally) -> str:
        return references.and_lacking(_nothing_kept(tally, answered, config, run_dir))

    tally = write_choices(map(choose, items), run_dir, nothing)
    metrics = tally.metrics([*warnings, *curator.kinds.warnings()])
    metrics["num_rejected"] += references.say_lacking()
    return {
        **metrics,
        "tries": collected.tries,
        "curation": curator.counts,
        "engine": choose_engine(config).metric(),
        "tokens_per_second": metered.tokens_per_second,
        "peak_memory_bytes": peak_bytes,
    }


def write_choices(chosen: Iterable[Choice], run_dir: RunDir, nothing_kept: Callable[[Tally], str]) -> Tally:
    """Write what is chosen of the answers to each item, and count it; `nothing_kept` says what to do without any.

    Raises:
        UserError: nothing is; the items and answers that are set aside are written all the same.
    """
    tally = Tally()
    make_folder(run_dir.sft)
    with _rows_to(run_dir.responses) as keep:
        with _rows_to(run_dir.rejected) as set_aside, _rows_to(run_dir.never_right) as miss:
            for choice in chosen:
                tally.add(choice)
                keep(choice.kept)
                set_aside(choice.rejected)
                miss([choice.never_right] if choice.never_right else [])
        if not tally.kept:
            raise UserError(nothing_kept(tally))
    left_out = f"; {run_dir.rejected} has the {counted(tally.rejected, 'item')} without one" if tally.rejected else ""
    print(f"{counted(tally.kept.total(), 'answer')} to learn from{left_out}", flush=True)
    return tally


@contextmanager
def _rows_to(path: Path) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Yield what writes rows to `path`, one call after the other; the file is replaced at the end."""
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(map(dump_row, rows))


def _nothing_kept(tally: Tally, items: Sequence[Item], config: ExperimentConfig, run_dir: RunDir) -> str:
    empty = tally.empty.total()
    off = "turn keep_correct off, raise --max_tries or --max_new_tokens, or " if config.keep_correct else ""
    return (
        f"keep_correct={config.keep_correct}, teacher_context={config.teacher_context!r}: no answer to any of "
        f"{counted(len(items), 'item')} can be learned from ({empty} {'is' if empty == 1 else 'are'} empty); "
        f"{off}use a stronger teacher; "
        f"{run_dir.rejected} has the last answer to each"
    )


def _take_references(
    items: Sequence[Item], references: References, renderers: Renderers, config: ExperimentConfig, run_dir: RunDir
) -> GenerateMetrics:
    """The reference solutions of all items as answers.

    Raises:
        UserError: no item has one.
    """
    none = f"answers={config.answers!r}: no training item has a reference solution; use --answers teacher"
    tally = write_choices(map(references.choose, items), run_dir, lambda _: none)
    metrics = tally.metrics(_check_room_for_answers(items, renderers.student, config))
    metrics["num_rejected"] = references.say_lacking()
    return metrics


def _numbers(items: Iterable[Item], belongs: Callable[[Item], bool]) -> array[int]:
    """The places of the items that belong."""
    return array("q", (number for number, item in enumerate(items) if belongs(item)))


def _is_read(item: Item, config: ExperimentConfig) -> bool:
    """Whether the teacher reads more than the students do, or answers; other prompts are the students' own."""
    return not learns_reference(item, config) or context_of(item["domain"], config) != "none"


def _check_evaluation_fits(renderers: Renderers, config: ExperimentConfig, run_dir: RunDir) -> None:
    """Check the evaluation's prompts for both models, so that no failure comes after the training."""
    has_evaluation = run_dir.eval_data.exists() and run_dir.eval_data.stat().st_size  # all its sizes may be 0
    evaluated: list[Item] = load_jsonl(run_dir.eval_data) if has_evaluation else []  # type: ignore[assignment]
    check_prompts_fit(evaluated, renderers.student, config.student_model, config)
    if not config.remote_teacher:
        check_prompts_fit(evaluated, renderers.teacher, config.teacher_model, config)


def _check_files_fit(items: Sequence[Item], renderer: ChatRenderer, config: ExperimentConfig) -> None:
    """Refuse a file of `teacher_context` that fills the window alone, before it is tokenized with every prompt.

    Raises:
        UserError: there is one.
    """
    window = context_window(load_config(config.teacher_model, config))
    if window is None:
        return
    for file in sorted(files_of(items, config)):
        length = len(renderer.prompt_ids([{"role": "user", "content": read_context(Path(file))}]))
        if length + config.max_new_tokens > window:
            raise UserError(
                f"teacher_context={shown_path(f'file:{file}')}: the file alone has {length:,} tokens, which leaves "
                f"less than max_new_tokens={config.max_new_tokens} of the context window of {config.teacher_model!r}, "
                f"which has {window} tokens; shorten the file, or choose another teacher"
            )


def _check_room_for_answers(items: Sequence[Item], student: ChatRenderer, config: ExperimentConfig) -> list[Warned]:
    """A warning where the student's prompts leave no token of max_length for an answer: these items teach nothing.

    Raises:
        UserError: none leaves any.
    """
    full, shortest = 0, sys.maxsize
    for item in items:
        length = len(student.prompt_ids(item["messages"]))
        full, shortest = full + (length >= config.max_length), min(shortest, length)
    if full == len(items):
        raise UserError(
            f"max_length={config.max_length}: the shortest of {counted(full, 'training prompt')} has {shortest} "
            "tokens, so no answer could be learned from; raise --max_length, or shorten the prompts"
        )
    return [warned("no_room", found=full, n=len(items), limit=config.max_length)] if full else []
