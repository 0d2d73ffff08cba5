"""Parts of an estimate: the texts of one source, and memory by purpose."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Texts:
    """Items of one source, in tokens. A model's answers already respect max_new_tokens.

    `context` is what teacher_context adds to the prompt for the teacher alone. `is_reference`: the answers are the
    reference solutions.
    """

    source: str
    number: float
    prompt: float
    longest_prompt: int
    answer: float
    longest_answer: float
    context: float = 0
    is_reference: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes on the device; `weights` counts all models of a stage, `buffers` everything without another category."""

    weights: float = 0
    optimizer: float = 0
    activations: float = 0
    cache: float = 0
    buffers: float = 0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return sum(self.parts())

    def parts(self) -> list[float]:
        """The fields in their order."""
        return [getattr(self, field.name) for field in fields(self)]

    def __add__(self, other: Memory) -> Memory:
        return Memory(*(mine + its for mine, its in zip(self.parts(), other.parts(), strict=True)))
