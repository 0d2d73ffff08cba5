"""What every grader does first: look at the part of a response that is meant for the reader."""

from __future__ import annotations

import re


def without_thinking(response: str) -> str | None:
    """The text outside of `<think>...</think>`; None where a block was opened and never closed."""
    text = re.sub(r"<think>.*?</think>", "", response, flags=re.DOTALL)
    text = text.rpartition("</think>")[2]  # some templates put the opening tag into the prompt
    return None if "<think>" in text else text
