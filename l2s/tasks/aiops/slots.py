"""The values of a log's `{slots}`: drawn once for an item, for every entry, or from other slots."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from l2s.tasks.aiops import names, quantities
from l2s.tasks.aiops.names import Draw, day_between

ONCE: dict[str, Draw] = names.ONCE | quantities.ONCE
PER_ENTRY: dict[str, Draw] = names.PER_ENTRY | quantities.PER_ENTRY


class Slots(dict[str, str]):
    """The value of each `{name}` in one item. Use with `str.format_map`.

    Attributes:
        start: when the log begins; days in the past or the future are before or after it.
        now: the time of the current entry, which the writer keeps up to date.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._pids = {"systemd": "1"}
        self._counters: dict[str, int] = {}
        self.start = self.now = datetime(2025, 1, 1) + timedelta(seconds=rng.randrange(365 * 86_400))
        self._boot = self.start - timedelta(seconds=rng.randint(10_000, 999_999))

    def __missing__(self, name: str) -> str:
        if name in PER_ENTRY:
            return self._unused(PER_ENTRY[name])
        if name in quantities.RISING:
            return self._count(name)
        if name == "uptime":
            return str(int((self.now - self._boot).total_seconds()))
        if name == "svc_pid":
            return self.pid_of(self["svc"])
        self[name] = self._draw(name)
        return self[name]

    def pid_of(self, process: str) -> str:
        """The process id that a lasting process keeps throughout the log."""
        if process not in self._pids:
            self._pids[process] = self.new_pid()
        return self._pids[process]

    def new_pid(self) -> str:
        """The id of a process that lives for one entry."""
        return self._unused(names.whole(300, 9999))

    def _draw(self, name: str) -> str:
        if name == "pod":
            return f"{self['svc']}-{names.hexadecimal(5)(self._rng)}"
        if name in DAYS:
            return day_between(self.start, *DAYS[name], self._rng)
        if name in quantities.TOGETHER:
            return quantities.TOGETHER[name](self, self._rng)
        return self._unused(ONCE[name])

    def _count(self, name: str) -> str:
        first, step, write = quantities.RISING[name]
        if name in self._counters:
            self._counters[name] += self._rng.randint(1, step)
        else:
            self._counters[name] = int(first(self, self._rng))
        return write(self._counters[name])

    def _unused(self, draw: Draw) -> str:
        """A value that no other name of the item has, so that a bystander does not share the culprit's name."""
        while (value := draw(self._rng)) in self.values():
            pass
        return value


DAYS = {"past_day": (-700, -20), "expired_on": (-6, -1), "future_day": (40, 400)}  # days after the log's start
