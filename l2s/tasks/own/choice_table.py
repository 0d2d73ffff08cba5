"""Tables of an answer to a multiple-choice question, as lines that its reader finds: "Answer: B", "B - Yes"."""

from __future__ import annotations

import re

ROW = re.compile(r"^[ \t>]*\|(?P<cells>.*?)\|?[ \t]*$")
RULE = re.compile(r"[\s|:-]*")  # |---|---| below the head
EMPHASIS = re.compile(r"[*_`\s]+")
ANSWER = re.compile(
    r"(?:the)?(?:final|correct|my|your|right|chosen|selected)?(?:answer|choice|option|letter)|(?:最终|正确)?(?:答案|选项)",
    re.IGNORECASE,
)


def without_tables(text: str) -> str:
    """`text` with the rows of its Markdown tables as lines of cells with " - " between them.

    Below a head that names a column for the answer, the only row becomes "Answer: " with its cell.
    """
    if "|" not in text:
        return text
    lines, table = list[str](), list[list[str]]()
    for line in [*text.split("\n"), ""]:
        row = ROW.match(line)
        if row:
            if not RULE.fullmatch(line):
                table.append([cell.strip() for cell in row["cells"].split("|")])
            continue
        lines += _rows(table)
        table = []
        lines.append(line)
    return "\n".join(lines[:-1])


def _rows(table: list[list[str]]) -> list[str]:
    columns = (
        [index for index, cell in enumerate(table[0]) if ANSWER.fullmatch(EMPHASIS.sub("", cell))] if table else []
    )
    if len(table) == 2 and len(columns) == 1 and columns[0] < len(table[1]):
        cell = table[1][columns[0]]
        if len(cell) > 0 and (len(table[0]) == 1 or columns[0] > 0):
            return [f"Answer: {cell}"]
    return [" - ".join(cell for cell in row if cell) for row in table]
