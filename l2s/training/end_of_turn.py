"""Does the student end its turns? Asked before on-policy distillation, which learns from what the student writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from l2s.chat import ChatRenderer
from l2s.counted import counted
from l2s.generation.engines.protocol import Sampling
from l2s.metrics import FirstTurns
from l2s.tasks.types import Message
from l2s.training.answering import answer_in_training
from l2s.warning import Warned, warned

MOST_CUT = 0.5  # share of cut answers above which most of an update is text after the answer should have ended


@dataclass(frozen=True)
class EndOfTurn:
    """The answers to a few prompts: how many, how many of them were cut at the limit, and their mean length."""

    asked: int
    cut: int
    mean_length: float

    @property
    def cut_share(self) -> float:
        """Share of the answers that were cut."""
        return self.cut / self.asked

    def metric(self) -> FirstTurns:
        """For the metrics of the stage."""
        return {"asked": self.asked, "cut": self.cut, "mean_length": self.mean_length}

    def __str__(self) -> str:
        ended = self.asked - self.cut
        end = "ends" if ended == 1 else "end"
        found = f"before the first update {ended} of {counted(self.asked, 'sampled answer')} {end}"
        if self.cut_share <= MOST_CUT:
            return found
        return f"{found}; train it with SFT first (--kd_init sft), or raise --opd_max_new_tokens"

    def warnings(self, limit: int) -> list[Warned]:
        """A warning if more than MOST_CUT of the answers were cut."""
        if self.cut_share <= MOST_CUT:
            return []
        return [warned("opd_never_ends", found=self.cut, n=self.asked, limit=limit)]


def sample_turns(
    student: nn.Module, prompts: Sequence[Sequence[Message]], renderer: ChatRenderer, sampling: Sampling, at_a_time: int
) -> EndOfTurn:
    """Let a student that is ready for training answer `prompts`; it is left as it was."""
    asked = [renderer.prompt_ids(prompt) for prompt in prompts]
    answers = answer_in_training(student, asked, renderer, sampling, at_a_time=at_a_time)
    cut = sum(answer.finish_reason == "length" for answer in answers)
    return EndOfTurn(len(answers), cut, sum(answer.num_tokens for answer in answers) / len(answers))
