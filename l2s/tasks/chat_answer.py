"""First steps of several graders: remove a response's thinking, and unify its dashes."""

from __future__ import annotations

import re
from itertools import chain

# How models mark their thinking. A block that is never closed runs to the end of the response.
THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
)
HARMONY_CHANNEL = re.compile(r"(?:<\|start\|>\w*)?<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
HARMONY_END = re.compile(r"<\|(?:end|return|call)\|>")
HARMONY = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>")
MARKERS = frozenset(chain(*THINKING, HARMONY))  # kept in texts without special tokens

# Every hyphen, dash and minus of Unicode that models write for "-": U+2010 to U+2015, minus, superscript and subscript
# minus, small and full-width forms.
DASHES = dict.fromkeys(map(ord, "‐‑‒–—―⁻₋−﹘﹣－"), "-")


def without_thinking(response: str) -> str | None:
    """The text outside of thinking blocks such as `<think>...</think>`; None if a block is never closed.

    For a response in harmony channels (`<|channel|>analysis<|message|>...`) it is the text of the final channel.
    """
    if HARMONY_CHANNEL.search(response):
        return _final_channel(response)
    for opening, closing in THINKING:
        block = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL | re.IGNORECASE)
        response = block.sub("", response)
        # Some templates put the opening mark into the prompt, so the response has only the closing one.
        response = re.split(re.escape(closing), response, flags=re.IGNORECASE)[-1]
        if opening.casefold() in response.casefold():
            return None
    return response


def _final_channel(response: str) -> str | None:
    _, *channels = HARMONY_CHANNEL.split(response)
    final = [text for name, text in zip(channels[::2], channels[1::2], strict=True) if name == "final"]
    return HARMONY_END.split(final[-1], maxsplit=1)[0] if final else None
