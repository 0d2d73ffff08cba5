"""Code blocks of a Markdown text as models write them: in lists and quotes, nested, unclosed, or with fences inside."""

from __future__ import annotations

import re
from dataclasses import dataclass

from l2s.tasks.syntax import syntax_error

FENCE = re.compile(r"(?P<before>.*?)(?P<fence>(?<!`)`{3,}+|(?<!~)~{3,}+)(?P<info>[^`~]*)")
QUOTE = r"[ \t]*> ?"
MARKDOWN = {"markdown", "md", "text", "txt"}  # blocks of these languages may hold blocks
MOST_LOOKS = 50  # at where strings end in an answer: each compiles a piece of it, and a real answer needs a few
CODE_BEGINS = re.compile(r"^(?:def|class|async def)\s", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Text inside a code fence; not `closed` if the text ends, or the next block begins, before the fence does."""

    text: str
    closed: bool


def split_fences(answer: str) -> tuple[list[Block], str]:
    """The code blocks of a Markdown text with `\\n` line ends, in order, and the text outside them.

    A fence may be indented or quoted, follow prose on its line, close at the end of a line of code, or never be closed.
    A fence inside a triple-quoted string or a comment of the block is part of the program.
    """
    lines = answer.removesuffix("\n").split("\n") if answer else []
    blocks, prose, position, strings = list[Block](), _Prose(), 0, _Strings()
    while position < len(lines):
        opening = _opening(lines[position], prose)
        position += 1
        if opening is None:
            prose.append(lines[position - 1])
            continue
        prose.append(opening["before"])
        while opening is not None:  # the block ended at the fence that opens the next one
            content = _Content(lines, position, opening["before"])
            end, before, following = _end(content, opening["fence"], strings)
            block = Block(join([*content.until(end), *before]), closed=end < len(content) and following is None)
            blocks += _nested(block, opening)
            position, opening = position + end + 1, following
    return blocks, join(prose.lines)


def join(lines: list[str]) -> str:
    """The text of these lines. (`str.splitlines` would end lines at characters that Python reads inside strings.)"""
    return "".join(line + "\n" for line in lines)


class _Prose:
    """The lines outside of blocks, and whether they end in a string of unfenced code."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._has_code = False
        self._quotes = {'"""': 0, "'''": 0}

    def append(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)
        self._has_code = self._has_code or CODE_BEGINS.match(f"{line}\n") is not None
        for mark in self._quotes:
            self._quotes[mark] += line.count(mark)

    @property
    def in_docstring(self) -> bool:
        """Whether the next line is in a docstring of unfenced code."""
        return self._has_code and any(number % 2 for number in self._quotes.values())


class _Content:
    """The lines of an answer from `start` on, without the margin of a block; they are cut as they are asked for."""

    def __init__(self, lines: list[str], start: int, before: str) -> None:
        self._lines, self._start, self._before = lines, start, before
        self._cut: list[str] = []

    def __len__(self) -> int:
        return len(self._lines) - self._start

    def __getitem__(self, index: int) -> str:
        while len(self._cut) <= index:
            self._cut.append(_without_margin(self._lines[self._start + len(self._cut)], self._before))
        return self._cut[index]

    def until(self, end: int) -> list[str]:
        """The first `end` lines."""
        return [self[index] for index in range(end)]


class _Strings:
    """Tells whether a piece of an answer ends in a triple-quoted string; after some costly looks it says no."""

    def __init__(self) -> None:
        self._looks = MOST_LOOKS

    def end_open(self, lines: list[str]) -> bool:
        """Whether a triple-quoted string is open at the end of these lines."""
        source = join(lines)
        if not self._looks or ('"""' not in source and "'''" not in source):
            return False
        self._looks -= 1
        error = syntax_error(source)
        return error is not None and str(error.msg).startswith("unterminated triple-quoted")


def _opening(line: str, prose: _Prose) -> re.Match[str] | None:
    found = FENCE.fullmatch(line)
    if not found or (found["before"].strip(" \t>") and not re.fullmatch(r"\w*", found["info"].strip())):
        return None
    return None if prose.in_docstring else found


def _without_margin(line: str, before: str) -> str:
    """`line` of a block without the indentation or quotation marks that precede the block's opening fence."""
    if before.strip(" \t>"):
        return line
    if ">" in before:
        return re.sub(f"^(?:{QUOTE}){{{before.count('>')}}}", "", line)
    return line[len(before) :] if not line[: len(before)].strip() else line


def _end(content: _Content, fence: str, strings: _Strings) -> tuple[int, list[str], re.Match[str] | None]:
    """The line that ends a block, the code on that line, and its fence if that opens the next block.

    It is the first fence outside of triple-quoted strings, or the first fence of all if such a string is never closed.
    """
    first = None
    for index in range(len(content)):
        found = FENCE.fullmatch(content[index])
        if not found or not found["fence"].startswith(fence) or (found["info"].strip() and found["before"].strip()):
            continue
        if not found["before"].lstrip().startswith("#"):
            before = [found["before"]] if found["before"].strip() else []
            end = (index, before, found if found["info"].strip() else None)
            if not strings.end_open([*content.until(index), *before]):
                return end
            first = first or end
    if first and strings.end_open(content.until(len(content))):
        return first
    return len(content), [], None


def _nested(block: Block, opening: re.Match[str]) -> list[Block]:
    """The blocks inside a block of Markdown, or else the block itself."""
    may_hold_blocks = opening["info"].strip().lower() in MARKDOWN or opening["fence"] != "```"
    inner = split_fences(block.text)[0] if may_hold_blocks and syntax_error(block.text) else []
    return inner or [block]
