"""Reference solutions as training answers: for SFT, and for KD of the teacher's distribution over them."""

from __future__ import annotations

from collections.abc import Mapping

from l2s.chat import ChatRenderer
from l2s.config import ExperimentConfig
from l2s.counted import counted
from l2s.generation.collect import row_of
from l2s.generation.curation import Choice
from l2s.generation.engines.protocol import Completion
from l2s.tasks.table import task_of
from l2s.tasks.types import Item, Message


class References:
    """Takes the reference solutions of items as their answers. `seen` and `lacking` count items."""

    def __init__(self, asked: Mapping[str, list[Message]], renderer: ChatRenderer, config: ExperimentConfig) -> None:
        self.asked, self.renderer, self.config = asked, renderer, config
        self.seen = self.lacking = 0

    def choose(self, item: Item) -> Choice:
        """The solution of an item. The row holds what the teacher of KD reads in front of it."""
        self.seen += 1
        solution = task_of(item["domain"]).solution(item)
        if solution is None:
            self.lacking += 1
            return Choice([], [], [])
        num_tokens = len(self.renderer.answer_ids(item["messages"], solution))
        answer = Completion(item["id"], solution, "stop", num_tokens, seconds=0.0)
        return Choice([], [row_of(item, self.asked[item["id"]], answer, None, None, "reference")], [])

    def say_lacking(self) -> int:
        """Print how many items have been left out so far, and return that number."""
        if self.lacking:
            left_out = f"{counted(self.lacking, 'item')} of {self.seen} without a reference solution; left out"
            print(f"answers={self.config.answers!r}: {left_out}")
        return self.lacking

    def and_lacking(self, message: str) -> str:
        """A message, with the items that have been left out so far if there are any."""
        lacking = f"answers={self.config.answers!r}: {counted(self.lacking, 'item')} without a reference solution"
        return f"{message}; {lacking}" if self.lacking else message
