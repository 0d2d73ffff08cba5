"""The values of `answers`: whose are learned from, in all domains or in each, such as `math=reference,code=teacher`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from l2s.config.teacher_context import ALL_DOMAINS, contexts_by_domain
from l2s.errors import shown

WHOSE = ("teacher", "reference")
KD_READS_IT = (
    "KD would ask the teacher about the text that it is shown; use fewshot:K or file:FILE, leave one out, or name the "
    "domains of each, such as --answers math=reference --teacher_context aiops=reference"
)


def usual_form(value: str) -> str:
    """`answers` in its usual form: domains in alphabetical order, without those that learn from the teacher's answers.

    Raises:
        ValueError: a domain is named twice, or something else than these two is asked for.
    """
    found = answers_by_domain(value)
    if ALL_DOMAINS in found:
        return found[ALL_DOMAINS]
    return ",".join(f"{domain}=reference" for domain in sorted(found) if found[domain] == "reference") or "teacher"


def answers_by_domain(value: str) -> dict[str, str]:
    """`math=reference,code=teacher` as domain -> whose answers; one for all domains has the key ALL_DOMAINS.

    Raises:
        ValueError: a domain is named twice, or something else than these two is asked for.
    """
    if value.strip() in WHOSE:
        return {ALL_DOMAINS: value.strip()}
    found: dict[str, str] = {}
    for part in value.split(","):
        domain, _, whose = (text.strip() for text in part.partition("="))
        if not domain or whose not in WHOSE:
            form = "must be teacher or reference, for all domains or for each: math=reference,code=teacher"
            raise ValueError(f"{form}; {shown(part)} is neither" if "," in value else form)
        if domain in found:
            raise ValueError(f"names {domain} twice; give each domain one")
        found[domain] = whose
    return found


def fault_of_references(answers: str, answers_per_item: int, context: str, arms: str) -> str | None:
    """Which setting makes no sense where students learn from reference solutions, and why; or None."""
    of_domain = answers_by_domain(answers)
    learned = [domain for domain, whose in of_domain.items() if whose == "reference"]
    everywhere = ALL_DOMAINS in learned
    beside = f"with answers={answers!r}"
    if everywhere and answers_per_item > 1:
        return f"answers_per_item={answers_per_item}: {beside} each item has one; leave one out"
    shown_to = contexts_by_domain(context)
    for domain in learned:
        where = "" if everywhere else f" in {domain}"
        of_these = list(shown_to.values()) if everywhere else [shown_to.get(domain, shown_to.get(ALL_DOMAINS, "none"))]
        if arms == "sft" and any(found != "none" for found in of_these) and (everywhere or domain in shown_to):
            nothing = f"the teacher answers nothing{where}, and SFT learns nothing else from it; leave one out"
            return f"teacher_context={shown(context)}: {beside} {nothing}"
        if "kd" in arms.split(",") and "reference" in of_these:
            return f"teacher_context={shown(context)}: {beside}{where} {KD_READS_IT}"
    return None


WhoseAnswers = Annotated[str, AfterValidator(usual_form)]
