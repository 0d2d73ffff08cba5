"""The only user of a chat template: messages and answers become token ids and labels, the same way in every stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from l2s import hub
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.loss.reference import IGNORE_INDEX
from l2s.tasks.types import Message


@dataclass(frozen=True)
class Rendered:
    """One training sequence. `labels[i]` is `input_ids[i]` in the answer and IGNORE_INDEX before it (not shifted)."""

    input_ids: list[int]
    labels: list[int]

    @property
    def num_response_tokens(self) -> int:
        """Tokens that the loss counts, the closing EOS among them."""
        return sum(label != IGNORE_INDEX for label in self.labels)


class ChatRenderer:
    """Renders with one tokenizer, thinking switched off where the template knows how."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                f"{tokenizer.name_or_path}: its tokenizer has no chat template; "
                "use an instruction-tuned model, or add a chat_template to its tokenizer_config.json"
            )
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"{tokenizer.name_or_path}: its tokenizer has no EOS token; set eos_token in its tokenizer_config.json"
            )
        self.tokenizer = tokenizer

    @property
    def eos_token_id(self) -> int:
        """The token that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_token_id(self) -> int:
        """The padding token; EOS where the tokenizer has none (labels and attention mask hide it)."""
        pad = self.tokenizer.pad_token_id
        return self.eos_token_id if pad is None else int(pad)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids up to where the assistant's answer starts."""
        turns: list[Any] = list(messages)
        text = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def render(self, messages: Sequence[Message], response: str, *, finished: bool = True) -> Rendered:
        """Prompt and answer as one sequence; EOS closes the answer unless it was cut (`finished=False`)."""
        prompt = self.prompt_ids(messages)
        answer = list(self.tokenizer(response, add_special_tokens=False)["input_ids"])
        if finished:
            answer.append(self.eos_token_id)
        return Rendered(prompt + answer, [IGNORE_INDEX] * len(prompt) + answer)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of an answer without special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def hash(self) -> str:
        """sha256 of everything that decides the rendering: template, special tokens, vocabulary."""
        state = [self.tokenizer.chat_template, self.tokenizer.special_tokens_map, sorted(self.vocabulary().items())]
        return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()

    def vocabulary(self) -> dict[str, int]:
        """Token text -> id, added tokens included."""
        return dict(self.tokenizer.get_vocab())


def load_renderer(config: ExperimentConfig, field: Literal["teacher_model", "student_model"]) -> ChatRenderer:
    """A renderer from the tokenizer of the model that `field` of `config` names.

    Raises:
        UserError: the tokenizer cannot be had.
    """
    name = getattr(config, field)
    hub.expect(name)
    try:
        return ChatRenderer(AutoTokenizer.from_pretrained(name, trust_remote_code=config.trust_remote_code))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            reason = str(error).splitlines()[0]
            why = f"this folder holds no tokenizer that loads ({reason}); put the tokenizer's files beside the weights"
        else:
            why = hub.explain(name, error)
        raise UserError(f"{field}={name!r}: {why}") from error


def check_same_vocabulary(teacher: ChatRenderer, student: ChatRenderer) -> None:
    """KD compares distributions token by token, so both models must mean the same token by the same id.

    Raises:
        UserError: the vocabularies differ, with the first token that does.
    """
    left, right = teacher.vocabulary(), student.vocabulary()
    if left == right:
        return
    token = min((t for t in left.keys() | right.keys() if left.get(t) != right.get(t)), key=lambda t: (len(t), t))
    raise UserError(
        f"student_model={student.tokenizer.name_or_path!r}: its tokenizer is not the teacher's "
        f"({len(left)} tokens against {len(right)}; {token!r} is id {left.get(token)} for the teacher, "
        f"{right.get(token)} for the student); KD needs one vocabulary: choose a student of the teacher's family"
    )
