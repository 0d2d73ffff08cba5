"""comparison_report.md."""

from __future__ import annotations

from l2s.report.numbers.schema import Results
from l2s.report.text.sections import Block, Section, build_sections
from l2s.report.text.strings import Text
from l2s.report.text.tables.table import Cell, Table
from l2s.report.text.verdict import write_verdict
from l2s.visible import in_one_line


def render_markdown(results: Results, text: Text, plots: list[str]) -> str:
    """The report as GitHub-flavoured Markdown; figures are links to plots/<name>.svg."""
    parts = [f"# {escape(text('title', name=results['experiment_name']))}", f"## {text('verdict')}"]
    verdict = write_verdict(results, text)
    parts.append(f"**{escape(verdict.headline)}**")
    if verdict.lines:
        parts.append("\n".join(f"- {escape(line)}" for line in verdict.lines))
    if results["warnings"]:
        parts += [f"## {text('warnings')}", "\n".join(f"- {escape(warning)}" for warning in results["warnings"])]
    for section in build_sections(results, text, plots):
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {section.title}"]
    parts += [f"![{name}](plots/{name}.svg)" for name in section.plots]
    for block in section.blocks:
        parts += _block(block)
    return parts


def _block(block: Block) -> list[str]:
    if block.table.is_empty:
        return [block.empty] if block.empty else []
    title = [f"### {block.title}"] if block.title else []
    return [*title, render_table(block.table), *([escape(block.note)] if block.note else [])]


def render_table(table: Table) -> str:
    """One table; every column after the first is right-aligned if it holds numbers."""
    lines = [_line([escape(name) for name in table.header]), _line(["---"] * len(table.header))]
    return "\n".join([*lines, *(_line([_cell(cell) for cell in row]) for row in table.rows)])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    value = f"**{escape(cell.value)}**" if cell.strong else escape(cell.value)
    return f"{value} [{escape(cell.detail)}]" if cell.detail else value


# What begins markup anywhere in a line, of Markdown or HTML; on GitHub also `$` of formulas and `~` of deletions.
LITERALLY = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|#~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def escape(text: str) -> str:
    """One line of text in which Markdown and HTML have no special meaning."""
    return in_one_line(text).translate(LITERALLY)
