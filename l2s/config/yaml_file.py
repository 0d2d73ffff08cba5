"""A configuration file in YAML, read strictly: one mapping of text keys, in UTF-8, and no key twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from l2s.errors import UserError, plain_path, shown
from l2s.jsonl import check_text, require_file

MOST_BYTES = 1_000_000  # a configuration has a few lines; more would take the parser minutes
NAMES_OF_TYPES = {str: "text", list: "a list", int: "a number", float: "a number", type(None): "nothing"}
MERGE = "tag:yaml.org,2002:merge"


OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+:[0-9_:]+)")


class _Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which PyYAML would take the last, and numbers that are not what they seem."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A number; YAML 1.1 would read 010 as 8, and 1:30 as 90."""
        if OTHER_BASE.fullmatch(node.value):
            problem = f"{shown(node.value)} would be a number of base 8 or 60, write it without 0 in front and colons"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node, whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in seen:
                    problem = f"the key {shown(key.value)} occurs twice, leave one out"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in the file of `--config`, not yet validated.

    Raises:
        UserError: it cannot be read, is no YAML, or holds no `field: value` lines.
    """
    name = f"--config {plain_path(file)}"
    try:
        require_file(file)
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        check_text(data, name, "UTF-8 text of `field: value` lines")
        if len(data) > MOST_BYTES:
            raise UserError(f"{name}: has more than {MOST_BYTES:,} bytes; give a file of `field: value` lines")
        content = _content(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unreadable(name, error) from None
    if not isinstance(content, dict):
        found = NAMES_OF_TYPES.get(type(content), type(content).__name__)
        raise UserError(f"{name}: holds {found}; write `field: value` lines")
    if unnamed := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{name}: {shown(unnamed[0])} is not the name of a setting; `l2s run --help` lists all")
    return content


def _content(text: str) -> Any:
    try:
        return _Loader(text).get_single_data()
    except (LookupError, AttributeError, TypeError) as error:  # how PyYAML ends at `!!bool maybe` and `!!timestamp x`
        raise ValueError("a value is not of the type that its tag says") from error


def _unreadable(name: str, error: Exception) -> UserError:
    if str(error).startswith(name):  # it says all already
        return UserError(str(error))
    reason = " ".join(str(getattr(error, "strerror", None) or error or "nested too deeply").split())
    reason = re.sub(r' in "<[a-z ]*>",', " at", reason)
    return UserError(f"{name}: cannot be read as YAML ({reason}); give a file of `field: value` lines")
