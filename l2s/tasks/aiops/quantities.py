"""The numbers in a log. Numbers that depend on each other are drawn together: no part exceeds its whole."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from l2s.tasks.aiops.names import Draw, whole

MIB = 1024  # KiB
XIDS = 2**31 - 1  # age at which PostgreSQL's transaction ids run out
SEGMENT = 24  # bits of a position within a WAL segment of 16 MiB

Dependent = Callable[[Mapping[str, str], random.Random], str]

ONCE: dict[str, Draw] = {
    "spid": whole(10000, 32000),
    "count": whole(1200, 9800),
    "limit": whole(96, 980),
    "size": whole(1100, 9900),
    "secs": whole(31, 590),
    "minutes": whole(7, 58),
    "pct": whole(91, 99),
    "free_cpu": whole(200, 900),
    "rev": whole(100, 899),
    "canary": whole(1000, 1999),
    "part": whole(3000, 9999),
    "big1": whole(1_000_000, 9_999_999),
    "gib": whole(40, 980),
    "files": lambda rng: str(256 * rng.randint(4, 128)),
    "tracked": lambda rng: str(1024 * rng.randint(32, 512)),
    "conns": lambda rng: str(64 * rng.randint(8, 128)),
    "pool": whole(20, 240),
    "sessions": whole(97, 997),
    "rps": whole(600, 2900),
    "xids_left": whole(1_000_000, 2_990_000),
    "pause": whole(31, 58),
    "wal_end": whole(2**34, 2**40),
}

PER_ENTRY: dict[str, Draw] = {
    "ms": whole(300, 9999),
    "n": whole(2, 299),
    "big": whole(10_000, 999_999),
    "rt": lambda rng: f"0.{rng.randint(1, 99):03d}",
    "second": lambda rng: f"{rng.randint(1, 59):02d}",
    "few": whole(2, 12),
}


def _share(of: str, low: float, high: float) -> Dependent:
    return lambda slots, rng: str(round(int(slots[of]) * rng.uniform(low, high)))


def _above(base: str, low: int, high: int) -> Dependent:
    return lambda slots, rng: str(int(slots[base]) + rng.randint(low, high))


def _any(low: int, high: int) -> Dependent:
    return lambda slots, rng: str(rng.randint(low, high))


def _position(num_bytes: int) -> str:
    """A WAL position as PostgreSQL writes it: the high and the low 32 bits."""
    return f"{num_bytes >> 32:X}/{num_bytes & 0xFFFFFFFF:08X}"


def _replayed(slots: Mapping[str, str], rng: random.Random) -> str:
    return _position(int(slots["wal_end"]) - int(slots["size"]) * MIB * 1024)


TOGETHER: dict[str, Dependent] = {
    "close_wait": _share("files", 0.6, 0.95),
    "vm_kb": lambda slots, rng: str(round(int(slots["size"]) * MIB * rng.uniform(1.1, 1.9))),
    "drift_days": lambda slots, rng: str(max(1, round(int(slots["secs"]) / rng.uniform(8, 25)))),  # at 90 to 290 ppm
    "idle_conns": _share("conns", 0.6, 0.95),
    "waiting": _share("pool", 1.5, 9.0),
    "max_sessions": lambda slots, rng: str(int(slots["sessions"]) + 3),  # superuser_reserved_connections
    "idle_sessions": _share("sessions", 0.7, 0.97),
    "gave_up": _share("secs", 0.2, 0.9),
    "allowed_rps": _any(10, 60),
    "excess": lambda slots, rng: str(int(slots["rps"]) - int(slots["allowed_rps"])),
    "received": lambda slots, rng: _position(int(slots["wal_end"])),
    "replayed": _replayed,
    "xid_age": lambda slots, rng: str(XIDS - int(slots["xids_left"])),
    "rev2": _above("rev", 1, 9),
    "pause2": _above("pause", -19, -3),
    "late_ms": lambda slots, rng: str(int(slots["pause"]) * 1000 - rng.randint(300, 9999)),
    "mails": _any(20, 90),
    "more_mails": _above("mails", 5, 90),
    "spot": _any(2, 60),
    "spot2": _above("spot", 1, 30),
    "conf_line": _any(2, 80),
    "conf_line2": _above("conf_line", 1, 60),
    "deadlocked": _any(11000, 19000),
    "deadlocked2": _any(20000, 31000),
    "collation": _any(10, 700),
    "collation2": _above("collation", 1, 200),
    "document": _any(70_000, 990_000),
    "replicas": _any(3, 12),
    "some_replicas": _share("replicas", 0.4, 0.95),
    "restarts": _any(2, 9),
    "attempt": _any(2, 5),
    "cpu": _any(0, 31),
    "cold_ms": _any(900, 9900),
    "close_by": _any(3, 25),
    "statement_timeout": lambda slots, rng: str(1000 * rng.choice((10, 15, 20, 30, 60))),
    "queue": _any(40, 290),
}


def _number(value: int) -> str:
    return str(value)


def _segment(value: int) -> str:
    return f"00000001{value >> 8:08X}{value & 0xFF:08X}"


# counters that only grow, in log order: first value, largest step, format
RISING: dict[str, tuple[Dependent, int, Callable[[int], str]]] = {
    "session_no": (_any(100, 9000), 3, _number),
    "job_no": (_any(100, 9000), 5, _number),
    "event_no": (_any(10_000, 900_000), 400, _number),
    "packets": (_any(1_000_000, 90_000_000), 90_000, _number),
    "offset": (_any(100_000, 900_000), 500, _number),
    "hits": (_any(100_000, 900_000), 5_000, _number),
    "part_no": (_any(10, 200), 1, _number),
    "segment": (lambda slots, rng: str(int(slots["wal_end"]) >> SEGMENT), 1, _segment),
}
