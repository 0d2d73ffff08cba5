"""The names that a program defines, uses and lacks."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from l2s.tasks.syntax import syntax_tree


def defined_names(tree: ast.Module) -> set[str]:
    """The functions, classes and variables that a module defines at its top level; imports do not count.

    `f = f(3)` uses a name from elsewhere and defines none.
    """
    names = set[str]()
    for node in _top_level(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names |= _bound(node) - (_loaded_at_once(node.value) - names)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            names |= _bound(node)
    return names


def is_stub(source: str, name: str) -> bool:
    """Whether the last definition of `name` in `source`, which compiles, is a function that does nothing yet."""
    definitions = [node for node in _top_level(_body(source)) if name in _bound(node)]
    last = definitions[-1] if definitions else None
    return isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef) and all(map(_does_nothing, last.body))


def _does_nothing(statement: ast.stmt) -> bool:
    """A docstring, `...`, `pass`, `return NotImplemented`, `raise NotImplementedError(...)`."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Raise | ast.Return):
        return bool({"NotImplementedError", "NotImplemented"} & _loaded(statement))
    return isinstance(statement, ast.Pass)


def missing_names(source: str, wanted: Iterable[str] = ()) -> set[str]:
    """The names that `source` uses but never binds, without builtins, and those of `wanted` that it does not bind.

    Empty if `source` does not parse, or if a star import may bind anything.
    """
    tree = syntax_tree(source)
    if tree is None:
        return set()
    # not the whole targets of an assignment: `cache[0] = 1` uses the name
    nodes = [node for node in ast.walk(tree) if not isinstance(node, ast.Assign | ast.AnnAssign)]
    bound = {name for node in nodes for name in _bound(node)} | set(vars(builtins))
    return set() if "*" in bound else (_loaded(tree) | set(wanted)) - bound


def definitions_of(names: set[str], sources: Sequence[str]) -> list[str]:
    """The statements of `sources`, which compile, that bind one of `names`, and recursively the names that they need.

    If several sources bind a name, the last counts. Statements keep the order of the sources. Star imports are added if
    a name stays unknown.
    """
    statements = [statement for number, source in enumerate(sources) for statement in _statements(source, number)]
    taken, unknown, known = set[int](), set(names), set[str]()
    while unknown:
        name = unknown.pop()
        known.add(name)
        binding = [index for index, statement in enumerate(statements) if name in statement.binds]
        for index in binding:
            if statements[index].source == statements[binding[-1]].source and index not in taken:
                taken.add(index)
                unknown |= missing_names(statements[index].text) - known
    if not names <= {name for index in taken for name in statements[index].binds}:
        taken |= {index for index, statement in enumerate(statements) if "*" in statement.binds}
    return list(dict.fromkeys(statements[index].text for index in sorted(taken)))


class _Statement(NamedTuple):
    """A top-level statement: its text, the names that it binds, and the number of its source."""

    text: str
    binds: set[str]
    source: int


def _statements(source: str, number: int) -> Iterator[_Statement]:
    lines = source.split("\n")
    for node in _body(source):
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        binds = {name for part in _top_level([node]) for name in _bound(part)}
        yield _Statement("\n".join(lines[first - 1 : node.end_lineno]), binds, number)


def _body(source: str) -> list[ast.stmt]:
    tree = syntax_tree(source)
    return tree.body if tree else []


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The top-level statements of a module, including those under an `if` or `try`."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handlers = [statement for handler in getattr(node, "handlers", []) for statement in handler.body]
            yield from _top_level([*node.body, *handlers, *node.orelse, *getattr(node, "finalbody", [])])
        else:
            yield node


def _bound(node: ast.AST) -> set[str]:
    """The names that a statement or expression binds itself; "*" for a star import."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return {node.id}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        return {node.name}
    return set()


def _loaded_at_once(value: ast.AST) -> set[str]:
    """The names that an expression needs when it is evaluated; names inside a lambda are needed later."""
    if isinstance(value, ast.Lambda):
        return set()
    return {node.id for node in [value] if isinstance(node, ast.Name)}.union(
        *map(_loaded_at_once, ast.iter_child_nodes(value))
    )


def _loaded(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
