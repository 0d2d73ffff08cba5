"""Writes a log: entries ordered by time, in the notation of their style."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from l2s.tasks.aiops.records import Family, Harmless, Line, RedHerring, Split, Style
from l2s.tasks.aiops.slots import Slots

MIN_LINES = 15
FORKED = frozenset({"sshd", "CRON", "postfix/smtp", "postfix/cleanup"})
DATABASE_DAEMONS = ("checkpointer@", "walreceiver@", "archiver@", "monitor@", "backup@")
EVAL_ONLY_STRIDE = 4  # every fourth everyday entry, and a family's last symptom, occur only in evaluation logs


def write_log(
    style: Style,
    family: Family | None,
    harmless: Sequence[Harmless],
    herring: RedHerring | None,
    *,
    split: Split,
    max_lines: int,
    slots: Slots,
    rng: random.Random,
) -> str:
    """A log of MIN_LINES to `max_lines` lines; `family` is its fault, None for a healthy log."""
    timed = _false_alarms(harmless, rng)
    if family is not None:
        timed += _fault(family, split, 2 if herring else 3, rng)
    if herring is not None:
        start = rng.uniform(0.1, 0.7)
        timed += [(start + 0.02 * index, line) for index, line in enumerate(herring.lines)]
    used = sum(_height(line) for _, line in timed)
    wanted = rng.randint(MIN_LINES, max(MIN_LINES, min(max_lines, style.max_lines)))
    everyday = [line for index, line in enumerate(style.background) if split == "eval" or index % EVAL_ONLY_STRIDE < 3]
    timed += [(rng.random(), rng.choice(everyday)) for _ in range(wanted - used)]
    return _format(style, [line for _, line in sorted(timed, key=lambda entry: entry[0])], slots, rng)


def _fault(family: Family, split: Split, num_symptoms: int, rng: random.Random) -> list[tuple[float, Line]]:
    """Clues early, then some of the symptoms, both in the order of their table; times are 0 to 1."""
    times = sorted(rng.uniform(0.1, 0.5) for _ in family.clues)
    known = family.symptoms if split == "eval" else family.symptoms[:-1]
    chosen = sorted(rng.sample(range(len(known)), min(num_symptoms, len(known))))
    later = sorted(rng.uniform(times[-1], 1.0) for _ in chosen)
    return [*zip(times, family.clues, strict=True), *zip(later, (known[index] for index in chosen), strict=True)]


def _false_alarms(harmless: Sequence[Harmless], rng: random.Random) -> list[tuple[float, Line]]:
    timed = []
    for alarm in harmless:
        start = rng.uniform(0.0, 0.9)
        timed += [(start + 0.01 * index, line) for index, line in enumerate(alarm.lines)]
    return timed


def _height(line: Line) -> int:
    return 1 + line.text.count("\n")


def _format(style: Style, lines: Sequence[Line], slots: Slots, rng: random.Random) -> str:
    text = []
    for line in lines:
        slots.now += timedelta(seconds=rng.choice((0, 1, 1, 2, 3, 5, 8, 13)), milliseconds=rng.randrange(1000))
        slots.now += _passed(line.after.format_map(slots))
        source = line.source.format_map(slots)
        slots["pid"] = _pid(style, source, slots)
        text.append(NOTATIONS[style.name](line.level, source, line.text.format_map(slots), slots.now, slots))
    return "\n".join(text)


def _passed(after: str) -> timedelta:
    """The time of `Line.after`; None if the line has none."""
    if not after:
        return timedelta()
    number, unit = after.split()
    return timedelta(seconds=float(number) * {"s": 1, "min": 60}[unit])


def _pid(style: Style, source: str, slots: Slots) -> str:
    """A daemon keeps its process id; a process that serves one login, mail or session gets a new one."""
    lasts = source.startswith(DATABASE_DAEMONS) if style.name == "database" else source not in FORKED
    return slots.pid_of(source) if lasts else slots.new_pid()


def _syslog(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    process = source if source == "kernel" else f"{source}[{slots['pid']}]"
    return f"{when:%b %d %H:%M:%S} {slots['host']} {process}: {message}"


def _json(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    return json.dumps({"ts": f"{when:%H:%M:%S}", "level": level, "service": source, "msg": message})


def _nginx(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    if level == "info":
        request, status, size, seconds = message.rsplit(" ", 3)
        return f'{source} [{when:%d/%b:%H:%M:%S}] "{request} HTTP/1.1" {status} {size} rt={seconds}'
    return f"{when:%Y/%m/%d %H:%M:%S} [{level}] {message}"


def _java(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    return f"{when:%H:%M:%S},{when.microsecond // 1000:03d} {level.upper():5} [{source}] {message}"


def _events(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    reason, _, text = message.partition(": ")
    return f"{when:%H:%M:%S}  {'Normal' if level == 'info' else 'Warning'}  {reason}  {source}  {text}"


def _database(level: str, source: str, message: str, when: datetime, slots: Slots) -> str:
    severity = {"info": "LOG", "warn": "WARNING", "error": "ERROR"}[level]
    return f"{when:%Y-%m-%d %H:%M:%S} [{slots['pid']}] {source} {severity}: {message}"


NOTATIONS: dict[str, Callable[[str, str, str, datetime, Slots], str]] = {
    "syslog": _syslog,
    "services": _json,
    "nginx": _nginx,
    "java": _java,
    "kubernetes": _events,
    "database": _database,
}
