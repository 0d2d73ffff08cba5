"""AIOps logs: the numbers, ids and times of one log agree."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, pairwise
from typing import NamedTuple

import pytest

from l2s.tasks.aiops.families import STYLES
from l2s.tasks.aiops.items import Plan, write_item
from l2s.tasks.aiops.quantities import ONCE, PER_ENTRY, RISING, TOGETHER
from l2s.tasks.aiops.records import Family, Line, Style
from l2s.tasks.aiops.slots import Slots

FAULTS = [(style, family) for style in STYLES for family in (*style.families, None)]
SEEDS = range(16)


@cache
def logs_of(style: Style, family: Family | None) -> list[str]:
    """Evaluation logs of a family, every second one with a red herring."""
    plans = [Plan(style, family, family is not None and seed % 2 == 1, "en") for seed in SEEDS]
    return [_log(plan, seed) for seed, plan in zip(SEEDS, plans, strict=True)]


def _log(plan: Plan, seed: int) -> str:
    rng = random.Random(seed)
    return str(write_item(plan, "eval", seed, 40, rng, Slots(rng))["meta"]["problem"])


# Relations between the numbers of one or two entries -----------------------------------------------------------------


class Relation(NamedTuple):
    """`holds` gets the numbers in the groups of `pattern`, at each place where it matches."""

    pattern: str
    holds: Callable[..., bool]


LATER = r"(?:.|\n)*?"
RELATIONS = {
    "a full volume": Relation(
        r"size=(\d+)G used=(\d+)G avail=(\d+) use=(\d+)%",
        lambda size, used, left, use: size == used + left and use == round(100 * used / size),
    ),
    "resident and virtual memory": Relation(
        r"total-vm:(\d+)kB, anon-rss:(\d+)MB", lambda virtual, resident: resident * 1024 <= virtual <= 2048 * resident
    ),
    "tracked flows": Relation(r"count (\d+) max (\d+), dropping", lambda count, most: count == most >= 32_768),
    "open files": Relation(r"fd entries (\d+), nofile (\d+)", lambda files, most: files == most >= 1024),
    "sockets are files": Relation(rf"nofile (\d+){LATER}CLOSE_WAIT: (\d+)", lambda most, sockets: sockets <= most),
    "drift of a clock": Relation(
        rf"last update (\d+) days ago{LATER}estimated offset (\d+) s",
        lambda days, offset: offset <= 300e-6 * 86_400 * (days + 1),
    ),
    "a window": Relation(r"used=(\d+) max=(\d+) remaining=(\d+)", lambda used, most, left: used + left == most),
    "a retry": Relation(r"retry (\d+) of (\d+) to", lambda attempt, most: attempt <= most),
    "a slow start": Relation(r"cold start took (\d+) ms, expected (\d+)", lambda took, usual: took > usual),
    "a pool": Relation(r"active=(\d+) idle=(\d+) waiting=(\d+)", lambda active, idle, _: active > 0 and idle == 0),
    "an API outlives a certificate": Relation(
        rf"supported until (\d+)-(\d+)-(\d+){LATER}past notAfter=(\d+)-(\d+)-(\d+)",
        lambda *dates: dates[:3] > dates[3:],
    ),
    "nginx slots": Relation(r"events: (\d+) slots taken of (\d+)", lambda taken, most: taken == most),
    "idle sockets hold slots": Relation(
        rf"slots taken of (\d+){LATER}held by worker \d+: (\d+)", lambda most, idle: idle <= most
    ),
    "rates": Relation(
        r"at (\d+) r/s, allowed (\d+) r/s, excess (\d+)", lambda rate, allowed, excess: rate == allowed + excess
    ),
    "a client gives up before the timeout": Relation(
        rf'after (\d+) s while{LATER}export HTTP/1.1" 499 0 rt=(\d+)', lambda timeout, waited: waited < timeout
    ),
    "a document's size": Relation(
        rf"a response of (\d+) bytes{LATER}manual.pdf HTTP/1.1\" 200 (\d+)", lambda size, sent: size == sent
    ),
    "threads": Relation(r"-exec active (\d+) of (\d+), queued", lambda active, most: active == most),
    "growth of a class": Relation(rf"top class \w+ x (\d+){LATER}grew by (\d+)", lambda count, grew: grew < count),
    "a collection frees memory": Relation(r"(\d+)M->(\d+)M", lambda before, after: after < before),
    "late by no more than the pause": Relation(
        rf"\(Allocation Failure\) \S+ (\d+)\.0s{LATER}fired (\d+) ms late", lambda pause, late: late <= 1000 * pause
    ),
    "memory of a pod": Relation(r"working set (\d+)Mi, ceiling (\d+)Mi", lambda used, most: used == most),
    "replicas": Relation(r"(\d+) of (\d+) (?:replicas|pods)", lambda some, every: 0 < some <= every),
    "a request that does not fit": Relation(
        rf"requested cpu (\d+)m{LATER}largest free cpu share (\d+)m", lambda wanted, free: wanted > free
    ),
    "restarts": Relation(rf"demo, count (\d+){LATER}demo, count (\d+)", lambda before, after: before < after),
    "sessions": Relation(
        r"sessions (\d+) of (\d+), of these idle (\d+)", lambda sessions, most, idle: idle <= sessions == most - 3
    ),
    "a plan and its time": Relation(
        rf"duration (\d+) ms: select \*{LATER}canceled after (\d+) ms", lambda took, timeout: took < timeout
    ),
    "waits end at the timeout": Relation(
        rf"held by \d+ after (\d+) ms{LATER}lock_timeout, (\d+) ms", lambda waited, timeout: waited < timeout
    ),
    "ages of transactions": Relation(
        rf"frozen within (\d+) transactions{LATER}relfrozenxid (\d+)",
        lambda left, age: left + age == 2**31 - 1 and left < 3_000_000,
    ),
    "versions": Relation(r"version (\d+) activated, (\d+) withdrawn", lambda new, old: old < new),
    "collations": Relation(r"153\.(\d+) recorded, 153\.(\d+) provided", lambda old, new: old < new),
    "seconds": Relation(r"session time 0:(\d+):(\d+)", lambda minutes, seconds: minutes < 60 and seconds < 60),
    "close checkpoints": Relation(r"checkpoints (\d+) s apart", lambda seconds: seconds < 30),
    "a deadlock": Relation(
        rf"process (\d+) and process (\d+) waited{LATER}process (\d+) rolled back",
        lambda a, b, c: c in (a, b),
    ),
    "mails": Relation(
        rf"502, (\d+) mails{LATER}unreachable, (\d+) mails{LATER}queue of (\d+) delivered",
        lambda before, queued, delivered: before < queued <= delivered,
    ),
    "lines of a draft": Relation(rf"proxy_cachee\D+:(\d+){LATER}listn\D+:(\d+)", lambda first, second: first < second),
    "percentages": Relation(r"(\d+)%", lambda percent: percent <= 100),
    "seconds of a response": Relation(r"rt=(\d+)\.(\d{3})$", lambda seconds, fraction: seconds < 600),
}


# Relations in a whole log --------------------------------------------------------------------------------------------

TIMES = (
    (r"^(\w{3} \d\d \d\d:\d\d:\d\d) ", "%b %d %H:%M:%S"),
    (r"^\d{4}-(\d\d-\d\d \d\d:\d\d:\d\d) ", "%m-%d %H:%M:%S"),
    (r"^\d{4}/(\d\d/\d\d \d\d:\d\d:\d\d) ", "%m/%d %H:%M:%S"),
    (r"\[(\d\d/\w{3}:\d\d:\d\d:\d\d)\]", "%d/%b:%H:%M:%S"),
    (r'^(?:\{"ts": ")?(\d\d:\d\d:\d\d)\b', "%H:%M:%S"),
)
COUNTERS = (
    r"Started Session (\d+)",
    r"(\d+) packets since boot",
    r"rotating log files, event (\d+)",
    r"job cleanup-(\d+)",
    r"task (?:sweep|digest)-(\d+)",
    r"hits (\d+)",
    r"committed offset (\d+)",
    r"base backup part (\d+)",
    r"archived segment (\w+)",
)
SAME = (
    r"(CPU\d+): core temperature",
    r"publish (\w+) (?:failed|ok)",
    r"row (\d+)(?:,| saved)",
    r"(?:Broken pipe for|client of) (\w+)",
    r"process (\d+) rolled back",
    r"nightly report (\d+)|report (\d+) written",
    r"load of part (\d+)",
    r"(svc-test\d+)",
)
SINCE = {
    r"ContainerCreating for (\d+) min": "volume creds now reads",
    r"0 requests in the last (\d+) min": "settings revision",
    r"order view of \S+ is (\d+) min old": " with field ",
}


def time_of(entry: str) -> datetime | None:
    """When an entry was written; a year is ignored. None for lines of a stack trace."""
    for pattern, notation in TIMES:
        if match := re.search(pattern, entry):
            return datetime.strptime(f"2024 {match[1]}", f"%Y {notation}")
    return None


def elapsed(start: datetime, end: datetime) -> timedelta:
    """From `start` to `end`, across midnight or new year if the notation does not give the day."""
    gap = end - start
    day = timedelta(days=366) if start.date() != end.date() else timedelta(days=1)
    return gap if gap >= timedelta() else gap + day


def stamped(log: str) -> list[tuple[datetime, str]]:
    return [(when, entry) for entry in log.splitlines() if (when := time_of(entry)) is not None]


def times_run_forward(log: str) -> bool:
    return all(elapsed(before[0], after[0]) < timedelta(hours=2) for before, after in pairwise(stamped(log)))


def counters_rise(log: str) -> bool:
    counted = ([int(value, 16) for value in re.findall(counter, log)] for counter in COUNTERS)
    return all(before < after for values in counted for before, after in pairwise(values))


def pairs_are_about_one_thing(log: str) -> bool:
    return all(len({"".join(match.groups("")) for match in re.finditer(one, log)}) <= 1 for one in SAME)


def a_daemon_keeps_its_pid(log: str) -> bool:
    """For syslog, except daemons that fork; the process of /proc/N and the killed process are the service's own."""
    pids: dict[str, set[str]] = {}
    for name, pid in re.findall(r"\d\d \S+ ([\w.-]+)\[(\d+)\]: ", log):
        pids.setdefault(name, set()).add(pid)
    for pid, name in re.findall(r"Killed process (\d+) \(([\w-]+)\)", log):
        pids.setdefault(name, set()).add(pid)
    for name, pid in re.findall(r": ([\w-]+): /proc/(\d+)/fd", log):
        pids.setdefault(name, set()).add(pid)
    return all(len(found) == 1 for name, found in pids.items() if name not in ("sshd", "CRON"))


def a_waiting_session_speaks_for_itself(log: str) -> bool:
    return all(own == said for own, said in re.findall(r"\[(\d+)\] \S+ LOG: pid (\d+) still waiting", log))


def an_uptime_runs_with_the_clock(log: str) -> bool:
    entries = [(when, int(match[1])) for when, entry in stamped(log) if (match := re.search(r"uptime (\d+) s", entry))]
    gaps = ((elapsed(a[0], b[0]).total_seconds(), b[1] - a[1]) for a, b in pairwise(entries))
    return all(abs(clock - uptime) <= 1 for clock, uptime in gaps)


def a_pause_stops_the_log(log: str) -> bool:
    found = (
        (elapsed(before, when), float(match[1]))
        for (before, _), (when, entry) in pairwise(stamped(log))
        if (match := re.search(r"Pause Full .* (\d+\.\d)s$", entry))
    )
    return all(gap.total_seconds() + 1 >= pause for gap, pause in found)


def minutes_have_passed_since(log: str) -> bool:
    """An entry that states a number of minutes comes that long after the entry it refers to."""
    entries = stamped(log)
    for pattern, beginning in SINCE.items():
        began = [when for when, entry in entries if beginning in entry]
        ended = [(when, int(match[1])) for when, entry in entries if (match := re.search(pattern, entry))]
        if any(elapsed(began[0], when) < timedelta(minutes=minutes) - timedelta(seconds=1) for when, minutes in ended):
            return False
    return True


def wal_positions_differ_by_delta(log: str) -> bool:
    lines = re.findall(r"received (\w+)/(\w+), replayed (\w+)/(\w+), delta (\d+) MB", log)
    bytes_behind = [
        ((int(a, 16) << 32) + int(b, 16) - (int(c, 16) << 32) - int(d, 16), int(delta)) for a, b, c, d, delta in lines
    ]
    return all(behind == delta * 2**20 for behind, delta in bytes_behind)


WHOLE_LOG = (
    times_run_forward,
    counters_rise,
    pairs_are_about_one_thing,
    a_daemon_keeps_its_pid,
    a_waiting_session_speaks_for_itself,
    an_uptime_runs_with_the_clock,
    a_pause_stops_the_log,
    minutes_have_passed_since,
    wal_positions_differ_by_delta,
)


def contradictions(log: str) -> list[str]:
    """The names of all relations that a log breaks."""
    broken = [
        name
        for name, (pattern, holds) in RELATIONS.items()
        for match in re.finditer(pattern, log, re.MULTILINE)
        if not holds(*map(int, match.groups()))
    ]
    return broken + [check.__name__ for check in WHOLE_LOG if not check(log)]


# Tests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "family"), FAULTS, ids=lambda value: getattr(value, "cause", None))
def test_the_numbers_of_a_log_agree(style: Style, family: Family | None) -> None:
    for seed, log in zip(SEEDS, logs_of(style, family), strict=True):
        assert contradictions(log) == [], f"seed {seed}\n{log}"


def test_every_relation_is_met() -> None:
    logs = "\n\n".join(chain.from_iterable(logs_of(*fault) for fault in FAULTS))
    assert [name for name, (pattern, _) in RELATIONS.items() if not re.search(pattern, logs, re.MULTILINE)] == []
    assert [pattern for pattern in (*COUNTERS, *SAME, *SINCE) if not re.search(pattern, logs)] == []


@pytest.mark.parametrize(
    ("log", "broken"),
    [
        ("monitor: sessions 265 of 268, of these idle 7150 from cart-api", "sessions"),
        ("cart-api: /proc/7/fd entries 193, nofile 193\ncart-api: sockets in CLOSE_WAIT: 3150", "sockets are files"),
        ("received 3A/9F000000, replayed 3A/11000000, delta 4282 MB", "wal_positions_differ_by_delta"),
        ("diskmon: /data07 size=100G used=93G avail=0 use=93% inodes=41%", "a full volume"),
        ("total-vm:43181kB, anon-rss:2260MB", "resident and virtual memory"),
        ("warn: retry 154 of 5 to cart-api in 20 ms", "a retry"),
        ("8064 packets since boot\n8063 packets since boot", "counters_rise"),
        ("May 06 18:20:32 a cart-api[12]: x\nMay 06 18:20:33 a cart-api[13]: x", "a_daemon_keeps_its_pid"),
        ("May 06 18:20:32 a kernel: x\nMay 06 18:20:31 a kernel: x", "times_run_forward"),
        (
            "18:20:25,1 INFO [Db]\n18:20:27,1 INFO  [gc] Pause Full (Ergonomics) 2M->1M 41.0s",
            "a_pause_stops_the_log",
        ),
        (
            "18:20:25  Normal  Updated  volume creds now reads a\n18:20:27  Warning  ContainerCreating for 9 min",
            "minutes_have_passed_since",
        ),
        ('{"ts": "18:20:25", "uptime 10 s"}\n{"ts": "18:20:29", "uptime 90 s"}', "an_uptime_runs_with_the_clock"),
        ("LOG: [12] app@db LOG: pid 87 still waiting for", "a_waiting_session_speaks_for_itself"),
        ("CPU3: core temperature high\nCPU7: core temperature normal", "pairs_are_about_one_thing"),
    ],
)
def test_a_contradiction_is_found(log: str, broken: str) -> None:
    assert broken in contradictions(log)


TIMES_AND_IDS = {"ms", "rt", "secs", "minutes", "late_ms", "rev", "rev2", "part", "job_no", "big1", "spid", "attempt"}
RELATED = (  # amounts that one entry may hold together: a relation above, or the way they are drawn, ties them
    {"size", "vm_kb"},
    {"size", "received", "replayed"},
    {"pool", "waiting"},
    {"rps", "allowed_rps", "excess"},
    {"replicas", "some_replicas"},
    {"sessions", "max_sessions", "idle_sessions"},
    {"collation", "collation2"},
    {"deadlocked", "deadlocked2"},
)
FREE = (  # unrelated amounts: a share and a count, a worker's number and its sockets, an id and bytes
    {"pct", "count"},
    {"limit", "count"},
    {"few", "idle_conns"},
    {"n", "big"},
    {"n", "hits"},
)


def test_amounts_of_one_entry_are_tied_or_free_for_a_reason() -> None:
    """Whoever writes an entry with two amounts states their relation here."""
    amounts = (ONCE.keys() | PER_ENTRY.keys() | RISING.keys() | TOGETHER.keys()) - TIMES_AND_IDS
    for line in entries():
        held = set(re.findall(r"\{(\w+)\}", line.text)) & amounts
        assert len(held) < 2 or any(held <= known for known in (*RELATED, *FREE)), (held, line.text)


def entries() -> list[Line]:
    of_families = (line for style in STYLES for family in style.families for line in (*family.clues, *family.symptoms))
    false_alarms = (line for style in STYLES for alarm in style.harmless for line in alarm.lines)
    herrings = (line for style in STYLES for herring in style.red_herrings for line in herring.lines)
    everyday = (line for style in STYLES for line in style.background)
    return [*of_families, *false_alarms, *herrings, *everyday]
