"""Code blocks of a Markdown text as models write them: in lists and quotes, nested, unclosed, or with fences inside."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

FENCE = re.compile(r"(?P<before>.*?)(?P<fence>`{3,}|~{3,})(?P<info>[^`~]*)")
QUOTE = r"[ \t]*> ?"
MARKDOWN = {"markdown", "md", "text", "txt"}  # blocks of these languages may hold blocks
CODE_BEGINS = re.compile(r"^(?:def|class|async def)\s", re.MULTILINE)

warnings.filterwarnings("ignore", module="<answer>")  # ignore invalid escape sequences in models' programs


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
    blocks, prose, position = list[Block](), list[str](), 0
    while position < len(lines):
        opening = _opening(lines[position], prose)
        position += 1
        if opening is None:
            prose.append(lines[position - 1])
            continue
        prose.append(opening["before"])
        while opening is not None:  # the block ended at the fence that opens the next one
            content = [_without_margin(line, opening["before"]) for line in lines[position:]]
            end, before, following = _end(content, opening["fence"])
            block = Block(join([*content[:end], *before]), closed=end < len(content) and following is None)
            blocks += _nested(block, opening)
            position, opening = position + end + 1, following
    return blocks, join(prose)


def join(lines: list[str]) -> str:
    """The text of these lines. (`str.splitlines` would end lines at characters that Python reads inside strings.)"""
    return "".join(line + "\n" for line in lines)


@lru_cache(maxsize=64)  # an answer's program is looked at several times, and nesting makes that slow
def syntax_error(source: str) -> SyntaxError | None:
    """Why `source` does not compile, or None if it compiles."""
    try:
        compile(source, "<answer>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.with_traceback(None)
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error), ("<answer>", 1, 1, ""))
    return None


def _opening(line: str, prose: list[str]) -> re.Match[str] | None:
    found = FENCE.fullmatch(line)
    if not found or (found["before"].strip(" \t>") and not re.fullmatch(r"\w*", found["info"].strip())):
        return None
    text = join(prose)
    in_docstring = CODE_BEGINS.search(text) and (text.count('"""') % 2 or text.count("'''") % 2)
    return None if in_docstring else found


def _without_margin(line: str, before: str) -> str:
    """`line` of a block without the indentation or quotation marks that precede the block's opening fence."""
    if before.strip(" \t>"):
        return line
    if ">" in before:
        return re.sub(f"^(?:{QUOTE}){{{before.count('>')}}}", "", line)
    return line[len(before) :] if not line[: len(before)].strip() else line


def _end(content: list[str], fence: str) -> tuple[int, list[str], re.Match[str] | None]:
    """The line that ends a block, the code on that line, and its fence if that opens the next block.

    It is the first fence outside of triple-quoted strings, or the first fence of all if such a string is never closed.
    """
    ends = []
    for index, line in enumerate(content):
        found = FENCE.fullmatch(line)
        if not found or not found["fence"].startswith(fence) or (found["info"].strip() and found["before"].strip()):
            continue
        if not found["before"].lstrip().startswith("#"):
            before = [found["before"]] if found["before"].strip() else []
            ends.append((index, before, found if found["info"].strip() else None))
            if not _in_string(join([*content[:index], *before])):
                return ends[-1]
    if ends and _in_string(join(content)):
        return ends[0]
    return len(content), [], None


def _in_string(source: str) -> bool:
    error = syntax_error(source)
    return error is not None and str(error.msg).startswith("unterminated triple-quoted")


def _nested(block: Block, opening: re.Match[str]) -> list[Block]:
    """The blocks inside a block of Markdown, or else the block itself."""
    may_hold_blocks = opening["info"].strip().lower() in MARKDOWN or opening["fence"] != "```"
    inner = split_fences(block.text)[0] if may_hold_blocks and syntax_error(block.text) else []
    return inner or [block]
