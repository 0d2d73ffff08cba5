"""Lets an engine answer items. Each finished answer is written to disk at once, so a killed run resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.devices import replica
from l2s.errors import UserError
from l2s.generation.engines.protocol import Answering, Completion, Request, Sampling
from l2s.jsonl import append_jsonl, cut_unfinished_line, make_folder
from l2s.models.load import load_config
from l2s.models.stored import context_window
from l2s.run_dir import replica_logs
from l2s.sealed import seal, unseal
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.types import Item

REPORT_EVERY_S = 10.0
POLL_S = 0.5  # seconds between reads of the other replicas' logs; if a replica fails, the launcher ends all


def answer_items(
    items: Sequence[Item], engine: Answering, renderer: ChatRenderer, sampling: Sampling, log: Path, *, label: str
) -> dict[str, Completion]:
    """Answer `items` and return the completions by item id.

    Each finished answer is a line of `log`; items that have one are not asked again. A resumed run gives the answers of
    an uninterrupted one, greedy or sampled, because an engine's answer does not depend on which others are done.

    A replica writes its share to its own log. The first replica then waits for the others and returns all answers.
    """
    number, count = replica()
    own_log = log if number == 0 else replica_logs(log) / f"{number}.jsonl"
    make_folder(own_log.parent)
    make_folder(log.parent)
    requests = [Request(item["id"], renderer.prompt_ids(item["messages"]), item["messages"]) for item in items]
    wanted = {request.id for request in requests}
    cut_unfinished_line(own_log)
    answers = read_answers(log, wanted)
    share = wanted
    if count > 1:
        share = {request.id for batch in engine.batches(requests, sampling)[number::count] for request in batch}
    progress = AnswerProgress(label, len(share), len(share & answers.keys()))
    for finished in engine.generate(requests, sampling, done=answers.keys() | wanted - share):
        whole = [_with_opening(completion, renderer) for completion in finished]
        append_jsonl(own_log, [seal(asdict(completion)) for completion in whole])
        answers |= {completion.id: completion for completion in whole}
        progress.count(finished)
    progress.show()
    while number == 0 and answers.keys() != wanted:
        time.sleep(POLL_S)
        answers = read_answers(log, wanted)
    return answers


def read_answers(log: Path, wanted: Collection[str]) -> dict[str, Completion]:
    """The answers to `wanted` in the logs of all replicas, without a last line that is still being written.

    A damaged line is left out too: its item is asked again.
    """
    return {answer.id: answer for file in _files(log) for answer in _whole_answers(file) if answer.id in wanted}


def _files(log: Path) -> list[Path]:
    return [log, *sorted(replica_logs(log).glob("*.jsonl"))]


def _whole_answers(file: Path) -> list[Completion]:
    whole = file.read_bytes().rpartition(b"\n")[0] if file.is_file() else b""
    return [answer for line in whole.split(b"\n") if (answer := _completion(line))]


def smallest_batch(*logs: Path) -> int | None:
    """The smallest number of prompts at a time in `logs`, from which a resumed run continues; None if unknown."""
    answers = (answer for log in logs for file in _files(log) for answer in _whole_answers(file))
    return min((answer.batch_size for answer in answers if answer.batch_size), default=None)


def _completion(line: bytes) -> Completion | None:
    """The answer that a line of a log holds, or None where the line is damaged."""
    try:
        return Completion(**unseal(json.loads(line)))
    except (ValueError, TypeError, RecursionError):
        return None


def check_prompts_fit(items: Sequence[Item], renderer: ChatRenderer, name: str, config: ExperimentConfig) -> None:
    """Refuse prompts that leave fewer than max_new_tokens tokens of the model's context window for an answer.

    Raises:
        UserError: says how many there are and what fits.
    """
    window = context_window(load_config(name, config))
    if window is None:
        return
    lengths = [len(renderer.prompt_ids(item["messages"])) for item in items]
    overlong = sum(length + config.max_new_tokens > window for length in lengths)
    if overlong:
        raise UserError(
            f"max_new_tokens={config.max_new_tokens}: {overlong} of {len(items)} prompts leave less than that of the "
            f"context window of {name!r}, which has {window} tokens; the longest prompt has {max(lengths)}: lower "
            "--max_new_tokens, take shorter prompts, or choose another model"
        )


def _with_opening(answer: Completion, renderer: ChatRenderer) -> Completion:
    """`answer` with the tag that opens its thinking in front, if the prompt ended with that tag."""
    opening = renderer.opening
    if not opening or answer.text.startswith(opening.strip()):
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
        self.answers = self.tokens = 0
        self.begin = self.last = time.monotonic()
        if done_before:
            print(f"{label}: {done_before} of {total} answers are done already", flush=True)

    def count(self, finished: Sequence[Completion]) -> None:
        """Count answers, and print a line if one is due."""
        self.answers += len(finished)
        self.tokens += sum(completion.num_tokens for completion in finished)
        if time.monotonic() - self.last >= REPORT_EVERY_S:
            self.show()

    def show(self) -> None:
        """Print the line."""
        self.last = time.monotonic()
        if not self.answers:
            return
        elapsed = max(self.last - self.begin, 1e-9)
        left = (self.total - self.before - self.answers) * elapsed / self.answers
        print(
            f"{self.label}: {self.before + self.answers}/{self.total} answers, {self.tokens / elapsed:.1f} tokens/s, "
            f"{int(left) // 60}:{int(left) % 60:02d} left",
            flush=True,
        )
