"""From a chat answer to a Python program.

An answer holds its program in a fenced block, or bare between sentences, whole or as the mere body of the function that
the prompt began. Nothing is run here, only parsed.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

LONGEST_ANSWER = 50_000  # characters; more than any answer to these problems, and parsing it would take a while
MOST_STARTS = 20  # lines of a bare answer that are tried as the first of its program
INDENT = "    "

FENCE = re.compile(r"(?P<before>.*?)(?P<fence>`{3,}|~{3,})(?P<info>[^`~]*)")
CODE_START = re.compile(r"from |import |def |class |async |@\w|[A-Za-z_]\w*\s*(:[^=]+)?=[^=]")
FUTURE_IMPORT = re.compile(r"^from __future__ import .*\n", re.MULTILINE)

warnings.filterwarnings("ignore", module="<answer>")  # a model's invalid escape sequences are no news


@dataclass(frozen=True)
class Block:
    """Text inside a code fence; not `closed` where the answer, or the next block, begins before the fence ends."""

    text: str
    closed: bool


def extract_program(answer: str, *, entry_point: str, prompt: str = "") -> str | None:
    """The program in `answer` that is meant to define `entry_point`; None where there is no program.

    `prompt` is source that the answer may rely on or continue, as HumanEval's are: imports, helpers, and the signature
    of `entry_point`. What stands before the signature is kept; a body alone is put below it.
    """
    if len(answer) > LONGEST_ANSWER:
        return None
    blocks, prose = split_fences(answer.replace("\r\n", "\n"))
    whole = (_whole_program(block, entry_point) for block in reversed(blocks))
    program = next(filter(None, whole), None) or _bare_program(prose, entry_point)
    if program:
        return _below_preamble(program, prompt, entry_point)
    pieces = blocks[::-1] or [Block(prose, closed=False)]
    return next(filter(None, (_completed(piece, prompt, entry_point) for piece in pieces)), None) or _something(
        blocks, prose, prompt, entry_point
    )


def split_fences(answer: str) -> tuple[list[Block], str]:
    """The code blocks of a Markdown text, in order, and the text outside them.

    A fence may be indented, follow prose on its line, close at the end of a line of code, or never be closed.
    """
    blocks, prose, lines = list[Block](), list[str](), list[str]()
    fence, margin = "", 0
    for line in answer.splitlines():
        found = FENCE.fullmatch(line)
        before, info = (found["before"], found["info"].strip()) if found else ("", "")
        if found and fence and found["fence"].startswith(fence) and not (info and before.strip()):
            blocks.append(Block(_join([*lines, before] if before.strip() else lines), closed=not info))
            fence, lines = found["fence"] if info else "", []
        elif found and not fence and (not before.strip() or re.fullmatch(r"\w*", info)):
            fence, margin = found["fence"], len(before) - len(before.lstrip()) if not before.strip() else 0
            prose.append(before)
        elif fence:
            lines.append(line[margin:] if not line[:margin].strip() else line)
        else:
            prose.append(line)
    if fence:
        blocks.append(Block(_join(lines), closed=False))
    return blocks, _join(prose)


def _join(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def parse(source: str) -> ast.Module | None:
    """The syntax tree of `source`, or None where it does not compile."""
    return None if isinstance(_compiled(source), int) else ast.parse(source, "<answer>")


def _compiled(source: str) -> int | None:
    """None where `source` compiles, else the number of the line where it does not."""
    try:
        compile(source, "<answer>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def defined_names(tree: ast.Module) -> set[str]:
    """The functions, classes and variables that a module defines at its top level; imports do not count."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def _defines(source: str, name: str) -> bool:
    tree = parse(source)
    return tree is not None and name in defined_names(tree)


def _below_preamble(program: str, prompt: str, entry_point: str) -> str:
    """`program` below what stands in `prompt` before the definition of `entry_point`; __future__ imports go first."""
    signature = _definition_of(entry_point).search(prompt)
    preamble = prompt[: signature.start()] if signature else ""
    return "".join(FUTURE_IMPORT.findall(program)) + preamble + FUTURE_IMPORT.sub("", program)


def _definition_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*((async[ \t]+)?def[ \t]+|class[ \t]+)?{re.escape(name)}\b(?=[ \t]*[(:=])", re.MULTILINE)


def _whole_program(block: Block, entry_point: str) -> str | None:
    """The block's text where it defines `entry_point`; of an unclosed one the part before it turns into prose."""
    text = textwrap.dedent(block.text)
    program = text if block.closed else _longest_prefix(text)
    return program if _defines(program, entry_point) else None


def _bare_program(prose: str, entry_point: str) -> str | None:
    """The lines of unfenced text that make a program which defines `entry_point`."""
    lines = textwrap.dedent(prose).splitlines()
    starts = [number for number, line in enumerate(lines) if CODE_START.match(line)]
    definition = _definition_of(entry_point)
    surest = [number for number in starts if definition.match(lines[number])]
    for start in chain(starts[:MOST_STARTS], surest[:MOST_STARTS]):
        program = _longest_prefix(_join(lines[start:]))
        if _defines(program, entry_point):
            return program
    return None


def _longest_prefix(text: str) -> str:
    """The most lines from the first on that compile; where they do not, everything from the culprit on goes."""
    lines = text.splitlines()
    while lines:
        source = _join(lines)
        culprit = _compiled(source)
        if culprit is None:
            return source
        lines = lines[: min(culprit, len(lines)) - 1]
    return ""


def _completed(piece: Block, prompt: str, entry_point: str) -> str | None:
    """`prompt` with `piece` as the body of its function, whatever became of the body's indentation."""
    text = piece.text.strip("\n")
    if not text or not prompt:
        return None
    as_it_is = [text] if text[0].isspace() else []
    for body in (*as_it_is, INDENT + text, textwrap.indent(textwrap.dedent(text), INDENT)):
        program = prompt.rstrip() + "\n" + body + "\n"
        program = program if piece.closed else _longest_prefix(program)
        tree = parse(program)
        if tree is not None and _returns(tree, entry_point):
            return program
    return None


def _returns(tree: ast.Module, name: str) -> bool:
    """Whether the function `name` itself, and not one inside it, comes to a result."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return any(isinstance(node, ast.Return | ast.Yield | ast.Raise) for f in functions for node in _own_nodes(f))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What stands below `node`, except in functions and classes defined there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _something(blocks: list[Block], prose: str, prompt: str, entry_point: str) -> str | None:
    """A program that will fail, but tells why: one that does not compile, or does not define `entry_point`."""
    definition = _definition_of(entry_point)
    for text in [block.text for block in reversed(blocks)]:
        if definition.search(text):
            return _below_preamble(text, prompt, entry_point)
    found = re.search(rf"^[ \t]*def[ \t]+{re.escape(entry_point)}\b.*", prose, re.MULTILINE | re.DOTALL)
    if found:
        return _below_preamble(found.group(), prompt, entry_point)
    texts = [block.text for block in reversed(blocks) if block.text.strip()]
    return texts[0] if texts else None
