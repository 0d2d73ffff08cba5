"""What a chat template does besides placing messages: it may read the clock, end turns, and open the thinking."""

from __future__ import annotations

import re
from datetime import date

from l2s.tasks.chat_answer import THINKING

_READS_CLOCK = re.compile(r"\bstrftime_now\b")
_DIRECTIVES = "aAbBdejmyYCGuwUVWHIMSpfDFTRxXc"  # of strftime; %-d and %% are handled beside them
_OPENING = re.compile(f"(?:{'|'.join(re.escape(opening) for opening, _ in THINKING)})\\s*\\Z")


def freeze_clock(template: str, today: date) -> str:
    """`template` with a `strftime_now` that always returns `today` at midnight; unchanged if it does not use the clock.

    The replacement is a macro in the template's text, because transformers accepts no functions from a caller. It ends
    in a newline, which jinja drops after a block, so the output starts as before.
    """
    if not _READS_CLOCK.search(template):
        return template
    told = [(f"%-{directive}", today.strftime(f"%{directive}").lstrip("0") or "0") for directive in "djmHIMS"]
    told += [(f"%{directive}", today.strftime(f"%{directive}")) for directive in _DIRECTIVES]
    filters = "".join(f"|replace({asked!r},{answer!r})" for asked, answer in [*told, ("%%", "%")])
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n{template}"


def closing_of(opening: str) -> str:
    """The tag that ends what `opening`, a tag with the blanks after it, begins."""
    return dict(THINKING)[opening.strip()]


def empty_thought(opening: str) -> str:
    """A thought without a word, as models write it that are asked not to think."""
    return f"{opening}\n{closing_of(opening)}\n\n"


def is_without_thought(response: str, opening: str) -> bool:
    """Whether the prompt ends with the tag `opening`, and the answer neither repeats nor closes it."""
    return bool(opening) and opening.strip() not in response and closing_of(opening) not in response


def opening_of(prompt: str) -> str:
    """The tag, with the blanks after it, with which a rendered prompt opens the answer's thinking; usually empty."""
    found = _OPENING.search(prompt)
    return found.group() if found else ""
