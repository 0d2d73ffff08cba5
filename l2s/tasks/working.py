"""The working of an answer, without wording that changes nothing. Answers with equal working are duplicates."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator

from l2s.tasks.chat_answer import DASHES, without_thinking
from l2s.tasks.syntax import syntax_tree

SIGNS = str.maketrans({"×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/", "∕": "/"}) | DASHES
LATEX = (  # a command and what it stands for
    (re.compile(r"\\(?:times|cdot|ast)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:left|right|text\w*|math\w*|[()\[\],;:! ])"), " "),
)
BULLET = re.compile(r"^[ \t]*[-*>•][ \t]+", re.MULTILINE)
EMPHASIS = re.compile(r"(?<![^\W_])(?<!\))[*_`~]+(?=\S)|(?<=\S)[*_`~]+(?![^\W_]|\()")
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?(?:\s?%)?"
ZEROS = re.compile(r"(\.\d*?[1-9])0+\b|\.0+\b")  # behind the last digit that says something: $3.00, 1.50
WORD = r"[^\W\d_][^\W_]*"
OPERAND = r"\s*[(\[$€£]*\s*[-+]?(?:\.?\d|[^\W\d_](?![^\W_]))"  # a number or a variable of one letter follows
SIGN_OF_TEXT = rf"-(?<![^\W\d_]{{2}}-)(?={OPERAND})|[+*/^=<>≤≥≠](?={OPERAND}|(?<=\s.)\s+\w)"  # not that of well-known
TOKEN_OF_TEXT = re.compile(rf"{NUMBER}|{WORD}|{SIGN_OF_TEXT}")
TIMES = r"(?<=[\d)%\s])[xX](?=\s*[\d(\[$])"  # 3 x 4
TOKEN_OF_MATH = re.compile(
    rf"(?P<number>{NUMBER})|(?P<sign>{TIMES}|[-+*/^=])|(?P<bracket>[()])|(?P<word>{WORD})|"
    r"(?P<end>[^\s$€£{}&]|\n(?![\s&]*=))"
)
ALONE_IN_BRACKETS = re.compile(r"\(([^()+*/^=-]*)\)")
MOST_WORDS = 2  # between the numbers and signs of a calculation: 12 ripe apples / 4 = 3


def text_working(response: str) -> str:
    """The words, numbers and signs of the answer's visible part, without case, punctuation and layout."""
    return " ".join(re.sub(r"[,\s]", "", token) for token in TOKEN_OF_TEXT.findall(_plain(response).casefold()))


def math_working(response: str) -> str:
    """The calculations of a solution in order; its words if it has none."""
    return ";".join(_calculations(_plain(response))) or text_working(response)


def _plain(response: str) -> str:
    """The visible part in one notation of signs, without bullets, emphasis and LaTeX's layout."""
    visible = unicodedata.normalize("NFKC", (without_thinking(response) or response)).translate(SIGNS)
    for command, meaning in LATEX:
        visible = command.sub(meaning, visible)
    return EMPHASIS.sub("", BULLET.sub("", visible))


def _calculations(text: str) -> Iterator[str]:
    """Numbers that signs connect, such as `3*4=12`; units and names among them are left out."""
    found: list[str] = []
    numbers = words = opened = 0
    joined = False  # whether a sign stands after the last number
    for token in [*TOKEN_OF_MATH.finditer(text), None]:
        kind = token.lastgroup if token else "end"
        if kind == "word":
            words += 1
            if found[-1:] == ["("]:  # of a remark
                found.pop()
                opened -= 1
            continue
        if kind == "end" or words > MOST_WORDS or (kind == "number" and numbers and not joined):
            if numbers > 1:
                yield ALONE_IN_BRACKETS.sub(r"\1", "".join(found).lstrip("=").rstrip("-+*/^=("))
            found, numbers, opened, joined = [], 0, 0, False
        words = 0
        if token and kind != "end" and (token[0] != ")" or opened):
            found.append("*" if token[0] in "xX" else ZEROS.sub(r"\1", re.sub(r"[,\s]", "", token[0])))
            numbers += kind == "number"
            opened += (token[0] == "(") - (token[0] == ")")
            joined = kind == "sign" or (joined and kind == "bracket")


def program_working(program: str) -> str:
    """The syntax tree of a program without docstrings and variable names; its words if there is no tree."""
    tree = syntax_tree(program)
    if tree is None:
        return text_working(program)
    try:
        return ast.dump(_Renamed().visit(tree))
    except RecursionError:  # the parser reads deeper trees than Python code can walk
        return text_working(program)


class _Renamed(ast.NodeTransformer):
    """Numbers arguments and assigned variables in the order in which they appear, and drops docstrings."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def visit(self, node: ast.AST) -> ast.AST:
        """See ast.NodeTransformer."""
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)] or [ast.Pass()]  # type: ignore[attr-defined]
        visited: ast.AST = super().visit(node)
        return visited

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """An argument."""
        return ast.arg(arg=self._number(node.arg))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A variable where it is assigned and in all later uses; other names stay as they are."""
        if isinstance(node.ctx, ast.Store):
            self._number(node.id)
        return ast.Name(id=self.names.get(node.id, node.id), ctx=node.ctx)

    def _number(self, name: str) -> str:
        return self.names.setdefault(name, f"v{len(self.names)}")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
