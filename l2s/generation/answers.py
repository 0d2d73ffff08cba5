"""Lets an engine answer items. Each finished answer is written to disk at once, so a killed run resumes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from l2s.chat import ChatRenderer
from l2s.chat.template import closing_of
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.devices import replica
from l2s.durable import make_folder
from l2s.errors import UserError, shown
from l2s.generation.engines.protocol import Answering, Completion, Request, Sampling
from l2s.jsonl import append_jsonl, cut_unfinished_line
from l2s.models.load import load_config
from l2s.models.stored import context_window
from l2s.on_disk import Ids, SealedLogs, chunks
from l2s.run_dir import replica_logs
from l2s.sealed import seal
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.types import Item
from l2s.warning import Warned, warned

REPORT_EVERY_S = 10.0
POLL_S = 0.5  # seconds between looks at the other replicas' logs; if a replica fails, the launcher ends all
CUT_TOGETHER = 1 << 20  # prompts that are cut into batches together: 0.3 KiB of memory each
RENDERED = 1 << 14  # prompts whose tokens are in memory at a time

Answers = SealedLogs[Completion]


def answer_items(
    items: Sequence[Item], engine: Answering, renderer: ChatRenderer, sampling: Sampling, log: Path, *, label: str
) -> Answers:
    """Answer `items` and return the completions by item id, which stay on disk.

    Each finished answer is a line of `log`; items that have one are not asked again. A resumed run gives the answers of
    an uninterrupted one, greedy or sampled, because an engine's answer does not depend on which others are done.

    A replica writes its share to its own log. The first replica then waits for the others and returns all answers.
    """
    number, _ = replica()
    own_log = log if number == 0 else replica_logs(log) / f"{number}.jsonl"
    make_folder(own_log.parent)
    make_folder(log.parent)
    cut_unfinished_line(own_log)
    ids = Ids(item["id"] for item in items)
    answers: Answers = SealedLogs(ids, lambda: _files(log), lambda row: Completion(**row))
    answers.look()
    for together in chunks(range(len(items)), CUT_TOGETHER):
        share = _share(together, items, engine, renderer, sampling)
        asked = [request.id for batch in share for request in batch]
        part = f", items {together[0] + 1:,} to {together[-1] + 1:,}" if len(items) > CUT_TOGETHER else ""
        progress = AnswerProgress(label + part, len(asked), sum(id_ in answers for id_ in asked))
        for requests in _rendered(share, items, ids, renderer):
            done = {request.id for request in requests if request.id in answers}
            for finished in engine.generate(requests, sampling, done=done):
                append_jsonl(own_log, [seal(asdict(_with_opening(answer, renderer))) for answer in finished])
                progress.count(finished)
        progress.show()
    answers.look()
    while number == 0 and not answers.is_complete:
        time.sleep(POLL_S)
        answers.look()
    return answers


def _share(
    numbers: Sequence[int], items: Sequence[Item], engine: Answering, renderer: ChatRenderer, sampling: Sampling
) -> list[list[Request]]:
    """This replica's batches of the items with these numbers; of many, prompts are only as long as they are."""
    number, count = replica()
    requests = (_request(items[n], renderer) for n in numbers)
    if len(numbers) > RENDERED:
        requests = (Request(request.id, range(len(request.prompt_ids))) for request in requests)
    return engine.batches(list(requests), sampling)[number::count]


def _rendered(
    batches: Iterable[list[Request]], items: Sequence[Item], ids: Ids, renderer: ChatRenderer
) -> Iterator[list[Request]]:
    """The requests of whole batches in the order of the items, with their prompts, about RENDERED at a time."""

    def with_prompt(request: Request) -> Request:
        return _request(items[ids.position(request.id)], renderer) if isinstance(request.prompt_ids, range) else request

    part: list[Request] = []
    for batch in batches:
        part += batch
        if len(part) >= RENDERED:
            yield [with_prompt(request) for request in sorted(part, key=lambda request: ids.position(request.id))]
            part = []
    if part:
        yield [with_prompt(request) for request in sorted(part, key=lambda request: ids.position(request.id))]


def _request(item: Item, renderer: ChatRenderer) -> Request:
    return Request(item["id"], renderer.prompt_ids(item["messages"]), item["messages"])


def _files(log: Path) -> list[Path]:
    return [log, *sorted(replica_logs(log).glob("*.jsonl"))]


def check_prompts_fit(
    items: Iterable[Item], renderer: ChatRenderer, name: str, config: ExperimentConfig, *, context: str = "none"
) -> None:
    """Refuse prompts that leave fewer than max_new_tokens tokens of the model's context window for an answer.

    `context` is the teacher_context that they hold.

    Raises:
        UserError: says how many there are and what fits.
    """
    window = context_window(load_config(name, config))
    if window is None:
        return
    number = longest = overlong = 0
    of = ""
    for item in items:
        length = len(renderer.prompt_ids(item["messages"]))
        number += 1
        longest, of = max((longest, of), (length, item["id"]))
        overlong += length + config.max_new_tokens > window
    if overlong:
        less = f"show the teacher less (teacher_context={shown(context)}), " if context != "none" else ""
        raise UserError(
            f"max_new_tokens={config.max_new_tokens}: {overlong:,} of {counted(number, 'prompt')} "
            f"{'leaves' if overlong == 1 else 'leave'} less than that of the "
            f"context window of {name!r}, which has {window} tokens; the longest prompt, of item {shown(of)}, has "
            f"{longest}: {less}lower --max_new_tokens, take shorter prompts, or choose another model"
        )


def find_markup(key: str, items: Iterable[Item], renderer: ChatRenderer) -> list[Warned]:
    """The warning `key` if some prompts hold the text of a special token, which the model reads as markup."""
    found, number, example, token = 0, 0, "", ""
    for item in items:
        number += 1
        if (control := renderer.control_token_in(item["messages"])) is not None:
            found, example, token = found + 1, example or item["id"], token or control
    return [warned(key, found=found, n=number, token=token, example=example)] if found else []


def _with_opening(answer: Completion, renderer: ChatRenderer) -> Completion:
    """`answer` with the tag that opens its thinking in front, if the prompt ended with that tag.

    A server may return only the text after the thinking: whole text without the closing tag is not inside a thought.
    """
    opening = renderer.opening
    if not opening or answer.text.startswith(opening.strip()):
        return answer
    if answer.token_ids is None and answer.finish_reason == "stop" and closing_of(opening) not in answer.text:
        return answer
    ids = None if answer.token_ids is None else [*renderer.opening_ids, *answer.token_ids]
    return replace(answer, text=opening + answer.text, token_ids=ids)


def count_unclosed_thinking(rows: Iterable[Mapping[str, Any]]) -> int:
    """The number of answers whose thinking never ends."""
    return sum(without_thinking(row["response"]) is None for row in rows)


class AnswerProgress:
    """Prints a line every few seconds: answers done, tokens/s and time left, at the speed of this run."""

    def __init__(self, label: str, total: int, done_before: int) -> None:
        self.label, self.total, self.before = label, total, done_before
        self.answers = self.tokens = self.shown = 0
        self.begin = self.last = time.monotonic()
        if done_before:
            done = f"{done_before} of {counted(total, 'answer')} {'is' if done_before == 1 else 'are'} done already"
            print(f"{label}: {done}", flush=True)

    def count(self, finished: Sequence[Completion]) -> None:
        """Count answers, and print a line if one is due."""
        self.answers += len(finished)
        self.tokens += sum(completion.num_tokens for completion in finished)
        if time.monotonic() - self.last >= REPORT_EVERY_S:
            self.show()

    def show(self) -> None:
        """Print the line, unless it was printed since the last answer."""
        self.last = time.monotonic()
        if self.answers == self.shown:
            return
        self.shown = self.answers
        elapsed = max(self.last - self.begin, 1e-9)
        left = (self.total - self.before - self.answers) * elapsed / self.answers
        print(
            f"{self.label}: {self.before + self.answers}/{self.total} answers, {self.tokens / elapsed:.1f} tokens/s, "
            f"{int(left) // 60}:{int(left) % 60:02d} left",
            flush=True,
        )
