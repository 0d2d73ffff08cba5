"""Text from outside (models, files, servers) made safe to show. Imports nothing from l2s."""

from __future__ import annotations

import re

# Control characters, which command a terminal; marks that reorder or end a line; halves of surrogate pairs.
SPELLED_OUT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """`text` with each character that a reader would not see as such spelled out, like ⟨U+1B⟩; tab and newline stay."""
    return SPELLED_OUT.sub(lambda found: f"⟨U+{ord(found.group()):X}⟩", text)


def in_one_line(text: str) -> str:
    """The same with single spaces for all white space."""
    return " ".join(visible(text.replace("\r\n", "\n")).split())
