"""From chat answers to programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from l2s.tasks.fences import Block, split_fences
from l2s.tasks.program import extract_program

PROMPT = '''import math
from typing import List


def helper(x):
    return x + 1


def area(radius: float) -> float:
    """Area of a circle.
    >>> area(1)
    """
'''
WHOLE = "def area(radius):\n    return math.pi * helper(radius)\n"
BODY = "    r = helper(radius)\n    return math.pi * r\n"


def runs(program: str | None) -> float:
    """What the program's `area(1)` returns."""
    assert program is not None
    namespace: dict[str, object] = {}
    exec(program, namespace)
    area = namespace["area"]
    assert callable(area)
    return round(float(area(1)), 2)


ANSWERS = {
    "fenced": f"Here you are:\n\n```python\n{WHOLE}```\nIt works because ...",
    "fence first": f"```python\n{WHOLE}```",
    "no language": f"```\n{WHOLE}```",
    "other language name": f"```py3\n{WHOLE}```",
    "tildes": f"~~~python\n{WHOLE}~~~",
    "unclosed": f"Sure!\n```python\n{WHOLE}",
    "unclosed with prose after": f"```python\n{WHOLE}\nThis function multiplies pi by the radius.",
    "in a list": "1. So:\n   ```python\n   def area(radius):\n       return math.pi * helper(radius)\n   ```\n2. So",
    "fence after prose": f"The code: ```python\n{WHOLE}```",
    "fence at the end of code": f"```python\n{WHOLE.rstrip()}```",
    "bare": WHOLE,
    "bare with prose": f"Sure, this is it:\n\n{WHOLE}\nI hope it helps!",
    "bare with prose and imports": f"Of course.\nimport math\n\n{WHOLE}\nThe end.",
    "wrong then right": f"```python\ndef area(r):\n    return 0\n```\nNo, better:\n```python\n{WHOLE}```",
    "usage after": f"```python\n{WHOLE}```\nUse it:\n```python\nprint(area(3))\n```",
    "output after": f"```python\n{WHOLE}```\nOutput:\n```\n3.14\n```",
    "shell before": f"```bash\npip install numpy\n```\n```python\n{WHOLE}```",
    "second fence opens before the first closes": f"```python\nimport os\n```python\n{WHOLE}```",
    "windows line ends": f"```python\n{WHOLE}```".replace("\n", "\r\n"),
    "whole prompt repeated": f"```python\n{PROMPT}{BODY}```",
    "indented as a whole": "```python\n    def area(radius):\n        return math.pi * helper(radius)\n```",
    "future import": f"```python\nfrom __future__ import annotations\n{WHOLE}```",
    "lambda": "```python\narea = lambda radius: math.pi * helper(radius)\n```",
    "broken draft, then whole": f"```python\ndef area(radius:\n```\nAgain:\n```python\n{WHOLE}```",
    "body": BODY,
    "body after an empty line": "\n" + BODY,
    "body without its first indentation": BODY.lstrip(),
    "body at the margin": "r = helper(radius)\nreturn math.pi * r\n",
    "body in a fence": f"```python\n{BODY}```",
    "body at the margin in a fence": "```python\nr = helper(radius)\nreturn math.pi * r\n```",
    "body, then prose": BODY + "\nThis multiplies pi by the radius.",
    "body in tabs": "\tr = helper(radius)\n\treturn math.pi * r\n",
}

# Characters at which str.splitlines ends a line, and Python inside a string does not
SPLITTERS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
ODD_STRING = f"odd = 'a{SPLITTERS}b'\n"
COUNTED = f"return math.pi * helper(radius) * (len(odd) == {len(SPLITTERS) + 2})\n"
ODD = f"def area(radius):\n    {ODD_STRING}    {COUNTED}"
ANSWERS |= {
    "odd string in a fence": f"```python\n{ODD}```",
    "odd string, unclosed": f"```python\n{ODD}",
    "odd string, bare": f"Sure:\n\n{ODD}Enjoy!",
    "odd string in a body": f"    {ODD_STRING}    {COUNTED}",
    "odd string in a body at the margin": ODD_STRING + COUNTED,
    "odd string in an indented block": f"Here:\n\n    def area(radius):\n        {ODD_STRING}        {COUNTED}\nDone.",
    "odd string in a comment": f"```python\n# {SPLITTERS}\n{WHOLE}```",
    "carriage returns": f"```python\n{WHOLE}```".replace("\n", "\r"),
    "windows line ends, bare": WHOLE.replace("\n", "\r\n"),
}
for example in (Path(__file__).parent / "code_answers.txt").read_text(encoding="utf-8").split("\n=== ")[1:]:
    title, _, text = example.partition("\n")
    ANSWERS[title] = text


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_program_is_found_and_keeps_what_the_prompt_gives_it(answer: str) -> None:
    assert runs(extract_program(answer, entry_point="area", prompt=PROMPT)) == 6.28


@pytest.mark.parametrize("answer", ["", "  \n", "I cannot do that.", "The answer is 42.", "x" * 60_000])
def test_an_answer_without_code_has_no_program(answer: str) -> None:
    assert extract_program(answer, entry_point="area", prompt=PROMPT) is None


def test_a_closed_block_is_not_repaired() -> None:
    program = extract_program(
        "```python\ndef area(r):\n    return 1\n\nthis is not Python, is it?\n```", entry_point="area"
    )
    assert program is not None
    with pytest.raises(SyntaxError):
        compile(program, "answer", "exec")


def test_another_name_is_a_program_that_will_be_found_undefined() -> None:
    program = extract_program("```python\ndef surface(r):\n    return r\n```", entry_point="area")
    assert program == "def surface(r):\n    return r\n"


def test_an_interpreter_session_shows_what_was_typed_and_only_a_definition_in_it_counts() -> None:
    typed = WHOLE.replace("\n", "\n... ").removesuffix(" ")
    session = f"```\n>>> {typed}\n>>> area(1)\n6.28\n```"
    assert runs(extract_program(session, entry_point="area", prompt=PROMPT)) == 6.28
    usage = "```\n>>> area(1)\n6.28\n```"
    assert runs(extract_program(f"```python\n{WHOLE}```\n{usage}", entry_point="area", prompt=PROMPT)) == 6.28
    wrong = "```\n>>> def area(radius):\n...     return 0\n```"
    assert runs(extract_program(wrong, entry_point="area", prompt=PROMPT)) == 0


def test_a_cut_function_is_kept_up_to_where_it_was_cut() -> None:
    cut = extract_program("```python\ndef area(r):\n    r = abs(r)\n    return 3 * (r +", entry_point="area")
    assert cut == "def area(r):\n    r = abs(r)\n"


def test_a_cut_answer_that_repeats_its_program_is_read_up_to_the_repetition() -> None:
    repeated = f"```python\n{WHOLE}```\nOr:\n```python\ndef area(radius):\n    r = 0\n"
    assert runs(extract_program(repeated, entry_point="area", prompt=PROMPT, cut=True)) == 6.28
    corrected = f"```python\ndef area(radius):\n    return 0\n```\nNo:\n```python\n{WHOLE}\nprint(area(1"
    assert runs(extract_program(corrected, entry_point="area", prompt=PROMPT, cut=True)) == 6.28
    unclosed = f"```python\ndef area(radius):\n    return 0\n```\nNo:\n```python\n{WHOLE}"
    assert runs(extract_program(unclosed, entry_point="area", prompt=PROMPT)) == 6.28


def test_a_stub_alone_is_what_the_answer_holds() -> None:
    stub = "def area(r):\n    pass\n"
    assert extract_program(f"```python\n{stub}```", entry_point="area") == stub


def test_other_names_of_the_tests_are_taken_from_other_blocks() -> None:
    answer = "```python\nclass Side: ...\nprint(1)\n```\n```python\ndef area(side):\n    return 1\n```"
    program = extract_program(answer, entry_point="area", others=["Side", "unknown"])
    assert program == "class Side: ...\ndef area(side):\n    return 1\n"


def test_a_program_that_lacks_nothing_takes_nothing() -> None:
    answer = f"```python\nimport os\ndef helper(x): return 0\n```\n```python\n{WHOLE}```"
    program = extract_program(answer, entry_point="area", prompt=PROMPT)
    assert program is not None
    assert "import os" not in program
    assert "return 0" not in program


def test_fences_split_an_answer() -> None:
    assert split_fences("a\n```python title=x\n1\n```\nb\n```\n2") == (
        [Block("1\n", closed=True), Block("2\n", closed=False)],
        "a\n\nb\n\n",
    )
