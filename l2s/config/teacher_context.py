"""The values of `teacher_context`: one for all domains, or one for each, such as `math=fewshot:4,aiops=reference`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from l2s.config.field_types import expand_home

ALL_DOMAINS = ""  # key of a context that every domain has
OF_DOMAIN = re.compile(r"(?:^|,)\s*(\w+)\s*=\s*(?=none|reference|fewshot|file:)")  # a file's name may hold , and =


def usual_form(value: str) -> str:
    """`teacher_context` in its usual form: domains in alphabetical order, without those that have no context.

    Raises:
        ValueError: a domain is named twice, or there is no such context.
    """
    known = {domain: known_context(context) for domain, context in contexts_by_domain(value).items()}
    if ALL_DOMAINS in known:
        return known[ALL_DOMAINS]
    named = sorted((domain, context) for domain, context in known.items() if context != "none")
    return ",".join("=".join(pair) for pair in named) or "none"


def contexts_by_domain(value: str) -> dict[str, str]:
    """`math=fewshot:4,aiops=reference` as domain -> context; a context alone has the key ALL_DOMAINS.

    Raises:
        ValueError: a domain is named twice.
    """
    if not OF_DOMAIN.match(value):
        return {ALL_DOMAINS: value}
    _, *parts = OF_DOMAIN.split(value)
    domains = parts[::2]
    if twice := next((domain for domain in domains if domains.count(domain) > 1), None):
        raise ValueError(f"names {twice} twice; give each domain one context")
    return {domain: context.strip() for domain, context in zip(domains, parts[1::2], strict=True)}


def known_context(value: str) -> str:
    """A context of one domain in its usual form.

    Raises:
        ValueError: there is no such context.
    """
    kind, _, argument = value.partition(":")
    if kind in ("none", "reference") and value == kind:
        return value
    if kind == "fewshot" and re.fullmatch("[0-9]{1,9}", argument) and 1 <= int(argument) <= 64:
        return f"fewshot:{int(argument)}"
    if kind == "file" and argument:
        return f"file:{expand_home(argument)}"
    raise ValueError(
        "must be none, reference, fewshot:K with K from 1 to 64, or file:FILE, for all domains or for each: "
        "math=fewshot:4,aiops=reference"
    )


TeacherContext = Annotated[str, AfterValidator(usual_form)]
