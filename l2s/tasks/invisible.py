"""Characters of a program that a reader cannot see: spaces other than ASCII's, and marks without width."""

from __future__ import annotations

import re

SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
MARKS = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
CHARACTERS: dict[int, str | None] = {**dict.fromkeys(map(ord, SPACES), " "), **dict.fromkeys(map(ord, MARKS), None)}
ANY = re.compile(f"[{SPACES}{MARKS}]")
# A string or a comment, in which these characters mean themselves; or a run of them elsewhere.
STRING = r'"""(?:[^\\]|\\.)*?"""|' r"'''(?:[^\\]|\\.)*?'''|" r'"(?:[^"\\\n]|\\.)*"|' r"'(?:[^'\\\n]|\\.)*'|#[^\n]*"
STRING_OR_RUN = re.compile(rf"(?P<string>{STRING})|[{SPACES}{MARKS}]+", re.DOTALL)


def visible_source(source: str) -> str:
    """`source` as its reader sees it: with plain spaces, and without marks, except in strings and comments.

    Chat windows and copying add these characters, and Python refuses each of them outside a string or a comment.
    """
    if not ANY.search(source):
        return source
    return STRING_OR_RUN.sub(lambda found: found["string"] or found[0].translate(CHARACTERS), source)
