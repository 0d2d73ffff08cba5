"""What an estimate is made of: a configuration on devices, and what it says of a stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from l2s.config import ExperimentConfig
from l2s.plan.context_tokens import context_tokens
from l2s.plan.hardware import Fleet, Hardware
from l2s.plan.model_size import ModelSize
from l2s.plan.parts import Memory, Texts
from l2s.tasks.table import tasks_of
from l2s.tasks.task import Lengths, Split


@dataclass(frozen=True)
class Estimate:
    """What a stage takes. `disk` stays after it ends; `scratch` exists only while it runs, and `temporary` in TMPDIR.

    `of_server`: a server does the work. Its seconds are then the least that the rate limit allows.
    """

    seconds: float
    disk: float
    memory: Memory = field(default_factory=Memory)
    scratch: float = 0
    temporary: float = 0
    of_server: bool = False


@dataclass(frozen=True)
class Situation:
    """A configuration on devices, with the sizes of its models and of the student's LoRA.

    A stage runs as `processes`, which share its work, each on `split` devices like `hardware`. `fleet` is all devices
    of the run, if known.
    """

    config: ExperimentConfig
    hardware: Hardware
    teacher: ModelSize
    student: ModelSize
    lora_parameters: int
    processes: int = 1
    split: int = 1
    fleet: Fleet | None = None

    @property
    def by_vllm(self) -> bool:
        """Whether vLLM answers and scores; training never uses it."""
        return self.config.engine_of_weights == "vllm" and self.hardware.is_cuda

    @property
    def trainable(self) -> int:
        """Weights that SFT and KD update."""
        return self.student.parameters if self.config.tuning == "full" else self.lora_parameters

    def in_trainer(self) -> Situation:
        """The same with transformers, which holds every model in training."""
        return self.changed({"engine": "transformers"})

    def changed(self, changes: dict[str, Any]) -> Situation:
        """The same with other settings."""
        return replace(self, config=self.config.model_copy(update=changes))

    @property
    def training_texts(self) -> list[Texts]:
        """Texts of the training items."""
        return self._texts("train")

    @property
    def answered_texts(self) -> list[Texts]:
        """What is learned from: each training item with every answer that it is to have."""
        config = self.config
        most = min(config.answers_per_item, config.max_tries) if config.keep_correct else config.answers_per_item
        return [text if text.is_reference else replace(text, number=text.number * most) for text in self.training_texts]

    @property
    def evaluation_texts(self) -> list[Texts]:
        """Texts of the evaluation items."""
        return self._texts("eval")

    def _texts(self, split: Split) -> list[Texts]:
        found = []
        for task in tasks_of(self.config).values():
            if number := task.size(split, self.config):
                lengths = task.lengths(split, self.config)
                is_reference = split == "train" and self.config.answers_in(task.name) == "reference"
                answer, longest = _answer_lengths(lengths, is_reference, self.config)
                context = context_tokens(task.name, lengths, self.config) if split == "train" else 0
                prompts = lengths.prompt, lengths.longest_prompt
                found.append(Texts(lengths.source, number, *prompts, answer, longest, context, is_reference))
        return found


def _answer_lengths(lengths: Lengths, is_reference: bool, config: ExperimentConfig) -> tuple[float, float]:
    """Tokens of a mean answer and of the longest of a batch; nobody knows how long a model thinks."""
    most = config.max_new_tokens
    if is_reference:  # no model writes them, so nothing cuts them
        return lengths.solution, lengths.solution * lengths.longest_answer / lengths.answer
    if config.thinking == "on":
        return most, most
    return min(lengths.answer, most), min(lengths.longest_answer, most)
