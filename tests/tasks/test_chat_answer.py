"""The part of a response that is graded."""

from __future__ import annotations

import pytest

from l2s.tasks.aiops.matching import find, normalise
from l2s.tasks.chat_answer import DASHES, without_thinking


@pytest.mark.parametrize(
    ("response", "visible"),
    [
        ("18", "18"),
        ("<think>17</think>18", "18"),
        ("<think>17</think>18<think>19</think>", "18"),
        ("17</think>18", "18"),  # the prompt held the opening tag
        ("<THINK>17</THINK>18", "18"),
        ("[THINK]17? The answer is 17.[/THINK]It is 18.", "It is 18."),
        ("<thinking>17</thinking>18", "18"),
        ("<reasoning>17</reasoning>18", "18"),
        ("<|begin_of_thought|>17<|end_of_thought|>18", "18"),
        ("<|channel|>analysis<|message|>17<|end|><|start|>assistant<|channel|>final<|message|>18<|return|>", "18"),
        ("<think>17", None),
        ("18 <think>17", None),
        ("[THINK]17", None),
        ("<think>a</think><think>b", None),
        ("<|channel|>analysis<|message|>17", None),
    ],
)
def test_thinking_is_left_out_and_an_unclosed_block_leaves_nothing(response: str, visible: str | None) -> None:
    assert without_thinking(response) == visible


def test_dashes_become_hyphens() -> None:
    assert "media‑exporter – −5 ﹣ －".translate(DASHES) == "media-exporter - -5 - -"


@pytest.mark.parametrize("dash", "‐‑‒–—―−﹘﹣－")
def test_a_name_is_found_whatever_its_dash(dash: str) -> None:
    assert find(["media-exporter"], normalise(f"Restart Media{dash}Exporter now."))
    assert not find(["media-exporter"], normalise("Restart the mediaexporters now."))
