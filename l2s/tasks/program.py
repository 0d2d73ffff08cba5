"""From a chat answer to a Python program.

An answer holds its program in a code block or between sentences, complete or as the body of the function that the
prompt began. Nothing is run here, only parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import chain, count

from l2s.tasks.fences import Block, join, split_fences
from l2s.tasks.inline_code import inline_code
from l2s.tasks.invisible import visible_source
from l2s.tasks.program_names import defined_names, definitions_of, is_stub, missing_names
from l2s.tasks.syntax import program_tree, syntax_error, syntax_tree

LONGEST_ANSWER = 50_000  # characters; longer than any real answer, and slow to parse
MOST_CUTS = 10  # of a text that may begin with a program
MOST_STARTS = 20  # lines of a bare answer that are tried as the first line of its program
INDENT = "    "
TYPED = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?: |$)(.*)", re.MULTILINE)  # in a session of the interpreter

CODE_START = re.compile(r"from |import |def |class |async |@\w|[A-Za-z_]\w*\s*(:[^=]+)?=[^=]")
BINDS = re.compile(r"(?:async\s+)?(?:def|class)\s+(?P<definition>\w+)|(?P<variable>\w+)\s*(?::[^=]+)?=(?!=)")
FUNCTION = re.compile(r"\b(?:def|lambda)\b")
FUTURE_IMPORT = re.compile(r"^from __future__ import .*\n", re.MULTILINE)
STATEMENT_WITH_BODY = re.compile(r"\s*(?:class|def|async|if|elif|else|for|while|with|try|except|finally)\b.*:\s*$")


def extract_program(
    answer: str, *, entry_point: str, prompt: str = "", others: Sequence[str] = (), cut: bool = False
) -> str | None:
    """The program in `answer` that is meant to define `entry_point`; None if there is no program.

    `prompt` is source that the answer may rely on or continue, as in HumanEval: imports, helpers, and the signature of
    `entry_point`. The part before the signature is kept; a bare body is put below the signature. The program is the
    last block that defines `entry_point` with more than a stub; a block in which a `cut` answer broke off comes after
    the others. Imports, helpers and `others` (names that the tests use) that it lacks are taken from the answer's other
    blocks, and imports also from its prose. Code between backticks inside a line counts where there is nothing else.
    """
    if len(answer) > LONGEST_ANSWER:
        return None
    text = re.sub(r"\r*\n|\r", "\n", answer)
    blocks, prose = split_fences(text)
    blocks, prose = [Block(visible_source(block.text), block.closed) for block in blocks], visible_source(prose)
    open_end = blocks[-1] if cut and blocks and not blocks[-1].closed else None
    latest = _latest_first(blocks, cut)
    wholes = [program for block in latest if (program := _whole_program(block, entry_point, block is open_end))]
    wholes += filter(None, [_bare_program(prose, entry_point, cut and open_end is None)])
    solutions = [program for program in wholes if not is_stub(program, entry_point)]
    pieces = [*latest, Block(prose, closed=False)]
    completions = (_completed(piece, prompt, entry_point) for piece in pieces)
    preamble = _preamble(prompt, entry_point)
    if solutions:
        program = solutions[0]
    elif completed := next(filter(None, completions), None):
        program = completed.removeprefix(preamble)
    elif inline := _inline_program(text, prompt, entry_point):
        program = inline.removeprefix(preamble)
    elif wholes:
        program = wholes[0]
    else:
        return _something(blocks, prose, preamble, entry_point)
    lines = prose.split("\n")
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    sources = imports + [_compiling_part(block) for block in blocks] + list(_indented_blocks(lines))
    return _with_missing_names(program, preamble, sources, others)


# Programs in an answer -----------------------------------------------------------------------------------------------


def _latest_first(blocks: list[Block], cut: bool) -> list[Block]:
    """The blocks, the last one first.

    A model that repeats itself until it is cut ends inside a function that an earlier block holds whole, so this last
    block comes last. If the cut is not in an indented line, the function is whole, and a usage example is cut.
    """
    latest = blocks[::-1]
    if not cut or not latest or latest[0].closed:
        return latest
    last_line = latest[0].text.rstrip().rpartition("\n")[2]
    return [*latest[1:], latest[0]] if last_line[:1].isspace() else latest


def _defines(source: str, name: str) -> bool:
    tree = program_tree(source)
    return tree is not None and name in defined_names(tree)


def _whole_program(block: Block, entry_point: str, cut: bool) -> str | None:
    """The block's text if it defines `entry_point`; an unclosed block is cut where it turns into prose."""
    typed = Block(_typed(block.text), block.closed)
    program = _without_broken_end(_dedented(typed.text), entry_point) if cut else _compiling_part(typed)
    return program if _defines(program, entry_point) else None


def _without_broken_end(text: str, entry_point: str) -> str:
    """The longest prefix of a `text` that was cut, without the statement in which it broke off.

    A model that repeats its function until it is cut leaves a piece of it that may compile, and would replace the whole
    one. Only a statement that defines something new may be needed, and stays.
    """
    whole = _longest_prefix(text)
    lines = text.rstrip().split("\n")
    last = max(
        (number for number, line in enumerate(lines) if not line[:1].isspace() and line[:1] not in ")]}"), default=0
    )
    earlier = _longest_prefix(join(lines[:last])) if last else ""
    tree = program_tree(earlier)
    if tree is None or entry_point not in defined_names(tree) or is_stub(earlier, entry_point):
        return whole
    begun = BINDS.match(lines[last])
    name = begun and (begun["definition"] or begun["variable"])
    is_new = name not in defined_names(tree) if name else lines[last].startswith(("import ", "from "))
    return whole if is_new else earlier


def _compiling_part(block: Block) -> str:
    text = _dedented(block.text)
    return text if block.closed else _longest_prefix(text)


def _typed(text: str) -> str:
    """What was typed in a session of the interpreter, without its prompts and output; any other text as it is."""
    return join(TYPED.findall(text)) if text.lstrip().startswith(">>> ") else text


def _bare_program(prose: str, entry_point: str, cut: bool) -> str | None:
    """The lines of unfenced text that form a program with a definition of `entry_point`."""
    lines = _dedented(prose).split("\n")
    starts = [number for number, line in enumerate(lines) if CODE_START.match(line)]
    definition = _definition_of(entry_point)
    surest = [number for number in starts if definition.match(lines[number])]
    bare = (join(lines[start:]) for start in chain(starts[:MOST_STARTS], surest[:MOST_STARTS]))
    texts = ((text, _longest_prefix(text)) for text in chain(bare, _indented_blocks(lines)))
    text, program = next(((text, program) for text, program in texts if _defines(program, entry_point)), ("", None))
    return _without_broken_end(text, entry_point) if program and cut else program


def _inline_program(answer: str, prompt: str, entry_point: str) -> str | None:
    """The last code between backticks that defines `entry_point`, else the last that is a body of it."""
    spans = [(visible_source(span.text).strip(), span.alone) for span in inline_code(answer)]
    wholes = [text for text, _ in spans if FUNCTION.search(text) and _defines(text + "\n", entry_point)]
    solutions = (text + "\n" for text in wholes if not is_stub(text + "\n", entry_point))
    bodies = (_completed(Block(text, closed=True), prompt, entry_point) for text, alone in spans if alone)
    return next(chain(solutions, filter(None, bodies)), None)


def _indented_blocks(lines: list[str]) -> Iterator[str]:
    """Markdown's indented code blocks: after an empty line, lines indented further than the text above."""
    last = ""  # line that is not empty
    for start, line in enumerate(lines):
        above, last = last, line if line.strip() else last
        margin = line[: len(line) - len(line.lstrip(" \t"))]
        if not margin or (start and lines[start - 1].strip()) or not CODE_START.match(line.lstrip(" \t")):
            continue
        if above.startswith(margin) or STATEMENT_WITH_BODY.match(above):
            continue
        end = start
        while end < len(lines) and (lines[end].startswith(margin) or not lines[end].strip()):
            end += 1
        yield _dedented(join(lines[start:end]))


def _longest_prefix(text: str) -> str:
    """The longest prefix that compiles; each line that breaks it is cut off with all that follows.

    After MOST_CUTS a cut takes ever more lines: a thousand decorators never become a program, one less neither.
    """
    lines = text.removesuffix("\n").split("\n")
    for cuts in count():
        body = _without_comments_below(lines)
        error = syntax_error(join(body))
        if error is None:
            return join(lines) if body else ""
        more = 2 ** (cuts - MOST_CUTS) if cuts > MOST_CUTS else 0
        lines = body[: max(0, min(error.lineno or 1, len(body)) - 1 - more)]
    raise AssertionError("no line at all compiles")


def _without_comments_below(lines: list[str]) -> list[str]:
    """`lines` without comments and empty lines at their end, which decide nothing about a syntax error."""
    end = len(lines)
    while end and lines[end - 1].lstrip()[:1] in ("", "#"):
        end -= 1
    return lines[:end]


def _something(blocks: list[Block], prose: str, preamble: str, entry_point: str) -> str | None:
    """A program that fails but tells why: it does not compile, or does not define `entry_point`."""
    definition = _definition_of(entry_point)
    for text in [block.text for block in reversed(blocks)]:
        if definition.search(text):
            return _prepended(preamble, text)
    found = re.search(rf"^[ \t]*def[ \t]+{re.escape(entry_point)}\b.*", prose, re.MULTILINE | re.DOTALL)
    if found:
        return _prepended(preamble, found.group())
    texts = [block.text for block in reversed(blocks) if block.text.strip()]
    return texts[0] if texts else None


# Programs and what they lack -----------------------------------------------------------------------------------------


def _preamble(prompt: str, entry_point: str) -> str:
    """The part of `prompt` before the definition of `entry_point`."""
    signature = _definition_of(entry_point).search(prompt)
    return prompt[: signature.start()] if signature else ""


def _prepended(source: str, program: str) -> str:
    """`source` followed by `program`; __future__ imports go first."""
    return "".join(FUTURE_IMPORT.findall(program)) + source + FUTURE_IMPORT.sub("", program)


def _definition_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*((async[ \t]+)?def[ \t]+|class[ \t]+)?{re.escape(name)}\b(?=[ \t]*[(:=])", re.MULTILINE)


def _with_missing_names(program: str, preamble: str, sources: list[str], others: Sequence[str]) -> str:
    """`preamble`, what it and `program` use but lack of the definitions and imports in `sources`, then `program`."""
    whole = _prepended(preamble, program)
    missing = missing_names(whole, others)
    taken = definitions_of(missing, [source for source in sources if program_tree(source) and source not in whole])
    return _prepended(preamble + join(taken), program) if taken else whole


def _completed(piece: Block, prompt: str, entry_point: str) -> str | None:
    """`prompt` with `piece` as the body of its function, whatever the body's indentation."""
    text = piece.text.strip("\n")
    if not text.strip() or not prompt:
        return None
    as_it_is = [text] if text[0].isspace() else []
    for body in (*as_it_is, INDENT + text, _indented(_dedented(text))):
        program = prompt.rstrip() + "\n" + body + "\n"
        program = program if piece.closed else _longest_prefix(program)
        tree = program_tree(program)
        if tree is not None and _returns(tree, entry_point):
            return program
    return None


def _returns(tree: ast.Module, name: str) -> bool:
    """Whether the function `name` itself, and not a function inside it, returns a result."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return any(isinstance(node, ast.Return | ast.Yield | ast.Raise) for f in functions for node in _own_nodes(f))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node`, except those in functions and classes defined there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


# Indentation ---------------------------------------------------------------------------------------------------------


def _dedented(text: str) -> str:
    """`text` without the indentation of its first line; lines that lack it, such as those in strings, stay."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    margin = first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(margin) for line in lines)


def _indented(text: str) -> str:
    """`text` one level deeper; the lines of a multi-line string stay as they are."""
    tree = syntax_tree(text)
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)] if tree else []
    inside = {line for node in strings for line in range(node.lineno, node.end_lineno or node.lineno)}
    lines = enumerate(text.split("\n"))
    return "\n".join(line if number in inside or not line.strip() else INDENT + line for number, line in lines)
