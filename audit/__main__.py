"""Judge what pip-audit found: `python -m audit FINDINGS.json`, with the output of `pip-audit --format json`.

Exits with 1 if a finding is neither accepted nor fixed, an acceptance has expired, or a package was not looked up.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ACCEPTED = Path(__file__).with_name("accepted.toml")
SHOWN = 10  # packages that a line names


@dataclass(frozen=True)
class Accepted:
    """A finding that is accepted, until the end of a day."""

    package: str
    advisory: str
    why: str
    until: date


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a pinned package; `names` are its id and aliases."""

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fix yet"
        return f"{self.package} {self.version}: {' = '.join(self.names)}, {fix}"


def read_accepted(path: Path) -> list[Accepted]:
    """The entries of `accepted.toml`.

    Raises:
        ValueError: one of them lacks a field, or a field is of another type.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    return [_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _entry(number: int, entry: dict[str, Any]) -> Accepted:
    for name, kind in (("package", str), ("advisory", str), ("why", str), ("until", date)):
        if not isinstance(entry.get(name), kind) or not entry[name]:
            raise ValueError(f"{ACCEPTED.name}, entry {number}: {name} must be given, as {kind.__name__}")
    if unknown := entry.keys() - Accepted.__dataclass_fields__.keys():
        raise ValueError(f"{ACCEPTED.name}, entry {number}: no such field: {', '.join(sorted(unknown))}")
    return Accepted(**entry)


def read_findings(text: str) -> tuple[list[Finding], list[str]]:
    """The findings in pip-audit's JSON, and the packages that it could not look up."""
    packages = json.loads(text)["dependencies"]
    found = [
        Finding(one["name"], one["version"], (bug["id"], *bug.get("aliases", ())), tuple(bug.get("fix_versions", ())))
        for one in packages
        for bug in one.get("vulns", ())
    ]
    return found, [one["name"] for one in packages if "skip_reason" in one]


def complaints(
    findings: Sequence[Finding], skipped: Sequence[str], accepted: Sequence[Accepted], today: date
) -> list[str]:
    """What must be done before the audit passes, a line each."""
    lines = []
    if skipped:
        more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        lines.append(f"not looked up, so nothing is known of them: {', '.join(skipped[:SHOWN])}{more}")
    for finding in findings:
        entry = next((one for one in accepted if _covers(one, finding)), None)
        if entry is None:
            lines.append(f"{finding}; update the package in constraints.txt, or accept it in {ACCEPTED.name}")
        elif entry.until < today:
            lines.append(f"{finding}; its acceptance expired on {entry.until}: {entry.why}")
    return lines


def _covers(entry: Accepted, finding: Finding) -> bool:
    return entry.package.lower() == finding.package.lower() and entry.advisory in finding.names


def main(argv: Sequence[str]) -> int:
    """Print the findings and what must be done; the exit status."""
    try:
        findings, skipped = read_findings(Path(argv[0]).read_text(encoding="utf-8"))
        accepted = read_accepted(ACCEPTED)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 1
    wrong = complaints(findings, skipped, accepted, date.today())
    for entry in accepted:
        found = any(_covers(entry, finding) for finding in findings)
        state = f"accepted until {entry.until}: {entry.why}" if found else "no longer found: remove it"
        print(f"{entry.package} {entry.advisory}: {state}")
    for line in wrong:
        print(f"audit: {line}", file=sys.stderr)
    if not wrong:
        print(f"no vulnerability is known but {len(findings)} that are accepted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
