"""What the teacher sees and the student does not: solved examples, a text from the user, or the reference solution.

The teacher answers and is scored with its own prompt, which holds the context. The student learns the same answers with
the plain prompt, and evaluation shows the context to no model.
"""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from l2s.config import ALL_DOMAINS, ExperimentConfig, contexts_by_domain
from l2s.counted import counted
from l2s.errors import UserError, shown, shown_path
from l2s.jsonl import LONGEST_TEXT, check_text, fault_of, require_file
from l2s.on_disk import Ids
from l2s.tasks.contamination import question_of
from l2s.tasks.table import TASKS, task_of, tasks_of, without_training_items
from l2s.tasks.task import Task
from l2s.tasks.types import Item, Message

MOST_BYTES = 4 * LONGEST_TEXT  # of a file: no character takes more
CHINESE = re.compile(r"[\u4e00-\u9fff]")
REFERENCE = (
    "\n\nA correct solution, shown only to you:\n\n{solution}\n\nNow write your own complete answer to the task "
    "above, in the form that it asks for. Write as if you had found it yourself, and do not mention that you were "
    "shown a solution."
)
REFERENCE_ZH = (
    "\n\n以下正确解答只给你看：\n\n{solution}\n\n"
    "现在请按上面任务要求的格式，写出你自己的完整回答。写得像你自己得出的一样，不要提到你看过解答。"
)


def teacher_messages(items: Sequence[Item], config: ExperimentConfig) -> Mapping[str, list[Message]]:
    """The teacher's messages by item id: the item's own messages, with the context of its domain if there is one.

    Raises:
        UserError: an item has no reference solution, too few other items have one, or a file cannot be read.
    """
    shown = _Shown(items, config)
    for _ in shown.values():
        pass  # errors come now, and not after hours
    return shown


class _Shown(Mapping[str, list[Message]]):
    """The messages with their context, made when they are asked for, so that millions of items can stay on disk."""

    def __init__(self, items: Sequence[Item], config: ExperimentConfig) -> None:
        self.rows, self.config = items, config
        self.ids = Ids(item["id"] for item in items)
        self.texts = {file: read_context(Path(file)) for file in files_of(items, config)}
        self.solved: dict[tuple[str, bool], array[int]] = {}  # by domain and language: the items that can be examples
        if any(context.startswith("fewshot") for context in contexts_by_domain(config.teacher_context).values()):
            for number, item in enumerate(items):
                if task_of(item["domain"]).solution(item) is not None:
                    self.solved.setdefault((item["domain"], _is_chinese(item)), array("q")).append(number)
        self.asked = {key: Ids(question_of(items[n]) for n in numbers) for key, numbers in self.solved.items()}

    def __getitem__(self, id_: str) -> list[Message]:
        number = self.ids.find(id_)
        if number is None:
            raise KeyError(id_)
        item = self.rows[number]
        kind, _, argument = context_of(item["domain"], self.config).partition(":")
        if kind == "none":
            return item["messages"]
        if kind == "file":
            return _with_system(self.texts[argument], item["messages"])
        if kind == "reference":
            return _with_solution(item, task_of(item["domain"]).solution(item))
        return self._after_examples(item, int(argument))

    def _after_examples(self, item: Item, number: int) -> list[Message]:
        """Solved items of the same domain as earlier turns; the choice depends only on the seed and the item.

        They are in the item's language if there are enough: a teacher answers in the language of its examples. None
        asks what the item asks: its solution would give the answer away.
        """
        question = question_of(item)
        solved, same = self._solved_like(item, question, [_is_chinese(item)])
        if len(solved) - same < number:
            solved, same = self._solved_like(item, question, [False, True])
        rng = random.Random(f"{self.config.seed}-fewshot-{item['id']}")
        drawn = [self.rows[n] for n in rng.sample(solved, min(number + max(same, 1), len(solved)))]
        examples = [other for other in drawn if question_of(other) != question][:number]
        if len(examples) < number:
            raise _too_few(item, number, len(solved), same)
        shown: list[Message] = []
        for example in examples:
            shown += [turn for turn in example["messages"] if turn["role"] != "system"]
            shown.append({"role": "assistant", "content": task_of(example["domain"]).solution(example) or ""})
        system = [turn for turn in item["messages"] if turn["role"] == "system"]
        return [*system, *shown, *(turn for turn in item["messages"] if turn["role"] != "system")]

    def _solved_like(self, item: Item, question: str, languages: Sequence[bool]) -> tuple[array[int], int]:
        """The solved items of the item's domain in these languages, and how many of them ask its question."""
        keys = [key for chinese in languages if (key := (item["domain"], chinese)) in self.solved]
        solved = self.solved[keys[0]] if len(keys) == 1 else sum((self.solved[key] for key in keys), array("q"))
        return solved, sum(self.asked[key].count(question) for key in keys)

    def __iter__(self) -> Iterator[str]:
        return (item["id"] for item in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def files_of(items: Sequence[Item], config: ExperimentConfig) -> set[str]:
    """The files that the teacher sees beside these items."""
    if "file:" not in config.teacher_context:
        return set()
    contexts = (context_of(domain, config) for domain in {item["domain"] for item in items})
    return {context.removeprefix("file:") for context in contexts if context.startswith("file:")}


def context_of(domain: str, config: ExperimentConfig) -> str:
    """The context of an item's domain; domains that the user's own rows name have the context of `own`."""
    return config.teacher_context_in(task_of(domain).name)


def check_context(config: ExperimentConfig) -> None:
    """Check `teacher_context` as far as possible without the data.

    Raises:
        UserError: it names a domain that does not exist, a file cannot be used, or a domain has no more training items
            than examples are requested.
    """
    tasks, contexts = tasks_of(config), contexts_by_domain(config.teacher_context)
    for domain in contexts:
        if domain not in (ALL_DOMAINS, *TASKS):
            raise UserError(
                f"teacher_context={config.teacher_context!r}: {domain!r} is not a domain; name some of "
                f"{', '.join(TASKS)}"
            )
    unused = unused_contexts(config)
    for domain in (name for name in contexts if name not in unused):
        kind, _, argument = contexts[domain].partition(":")
        if kind == "file":
            read_context(Path(argument))
        if kind == "fewshot":
            for task in tasks.values():
                if domain in (ALL_DOMAINS, task.name):
                    _check_enough(task, int(argument), config)


def unused_contexts(config: ExperimentConfig) -> list[str]:
    """The domains that `teacher_context` names and that this run has no training items of."""
    return without_training_items(contexts_by_domain(config.teacher_context).keys() - {ALL_DOMAINS}, config)


def _check_enough(task: Task, examples: int, config: ExperimentConfig) -> None:
    if 0 < task.size("train", config) <= examples:
        raise UserError(
            f"teacher_context={config.teacher_context!r}: {task.name} has "
            f"{counted(task.size('train', config), 'training item')}, "
            "and an item is not its own example; ask for fewer examples or more items"
        )


def read_context(file: Path) -> str:
    """The text of `teacher_context=file:FILE`.

    Raises:
        UserError: it cannot be read, or is no text that a model can read.
    """
    where = f"teacher_context={shown_path(f'file:{file}')}"
    try:
        require_file(file)
        if (size := file.stat().st_size) > MOST_BYTES:  # before it fills the memory
            raise ValueError(f"{where}: the file has {size:,} bytes, at most {MOST_BYTES:,} can be read; shorten it")
        data = file.read_bytes()
        check_text(data, where, "UTF-8 text")
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError):
            raise UserError(str(error)) from None
        raise UserError(f"{where}: cannot be read ({error.strerror}); give a text file in UTF-8") from None
    text = data.decode("utf-8-sig").replace("\r\n", "\n").strip()  # Windows's ends of line are other tokens
    if fault := fault_of(text):
        raise UserError(f"{where}: the file {fault}; it holds what the teacher should know")
    return text


def context_files(config: ExperimentConfig) -> list[Path]:
    """The files that affect the teacher's prompts."""
    parts = [context.partition(":") for context in contexts_by_domain(config.teacher_context).values()]
    return [Path(argument) for kind, _, argument in parts if kind == "file"]


def _too_few(item: Item, number: int, solved: int, same: int) -> UserError:
    asks = f", and {same} of them {'asks' if same == 1 else 'ask'} what item {shown(item['id'])} asks" if same else ""
    return UserError(
        f"teacher_context='fewshot:{number}': only {counted(solved, 'training item')} of {item['domain']} "
        f"{'has' if solved == 1 else 'have'} a reference solution{asks}; ask for fewer examples or more items"
    )


def _is_chinese(item: Item) -> bool:
    return bool(CHINESE.search(item["messages"][-1]["content"]))


def _with_system(text: str, messages: Sequence[Message]) -> list[Message]:
    """One system turn: `text`, then the system turn of `messages`."""
    first, rest = messages[0], list(messages[1:])
    if first["role"] == "system":
        return [{"role": "system", "content": f"{text}\n\n{first['content']}"}, *rest]
    return [{"role": "system", "content": text}, first, *rest]


def _with_solution(item: Item, solution: str | None) -> list[Message]:
    if solution is None:
        raise UserError(
            f"teacher_context='reference': the training item {item['id']!r} has no reference solution; "
            "give it one, or use another context"
        )
    *before, last = item["messages"]
    asked = REFERENCE_ZH if _is_chinese(item) else REFERENCE
    return [*before, {"role": last["role"], "content": last["content"] + asked.format(solution=solution)}]
