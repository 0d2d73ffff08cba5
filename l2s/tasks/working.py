"""The working of an answer, without wording that changes nothing. Answers with equal working are duplicates."""

from __future__ import annotations

import ast
import re
import unicodedata

from l2s.tasks.chat_answer import DASHES, without_thinking

BETWEEN_WORDS = re.compile(r"[\W_]+")
EQUATION = re.compile(r"[\d.,()%$+\-*/×÷x\s]*\d[)%\s]*=\s*[$\s]*-?[\d.,]*\d")
NOT_IN_EQUATION = re.compile(r"[\s,$%]|\.(?!\d)")
OPERATORS = str.maketrans("×x÷", "**/")


def text_working(response: str) -> str:
    """The words of the answer's visible part, without case, punctuation and layout."""
    visible = without_thinking(response) or response
    return BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", visible).casefold()).strip()


def math_working(response: str) -> str:
    """The equations of a solution in order; its words if it has no equations."""
    visible = unicodedata.normalize("NFKC", (without_thinking(response) or response).translate(DASHES))
    equations = [NOT_IN_EQUATION.sub("", found.translate(OPERATORS)) for found in EQUATION.findall(visible)]
    return ";".join(equations) or text_working(response)


def program_working(program: str) -> str:
    """The syntax tree of a program without docstrings and variable names; its words if there is no tree."""
    try:
        return ast.dump(_Renamed().visit(ast.parse(program)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
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
