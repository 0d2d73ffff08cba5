"""Messages and answers become token ids and labels, with one tokenizer and its template.

A sequence is a model's own prompt followed by the answer's tokens. The answer's tokens begin with the tag that opens
its thinking, even where a template writes that tag for the model. An answer without a thought then gets an empty one.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, TemplateRuntimeError
from transformers import PreTrainedTokenizerBase

from l2s.chat.template import empty_thought, freeze_clock, is_without_thought, opening_of
from l2s.errors import UserError
from l2s.loss.reference import IGNORE_INDEX
from l2s.tasks.chat_answer import MARKERS, THINKING
from l2s.tasks.types import Message

SOME_DAY = date(2026, 1, 1)


@dataclass(frozen=True)
class Rendered:
    """One training sequence. `labels[i]` is `input_ids[i]` in the answer and IGNORE_INDEX before it (not shifted)."""

    input_ids: list[int]
    labels: list[int]

    @property
    def num_response_tokens(self) -> int:
        """Number of tokens that the loss counts, including the end token."""
        return sum(label != IGNORE_INDEX for label in self.labels)


class ChatRenderer:
    """Renders with one tokenizer and its template.

    Args:
        tokenizer: tokenizer of the model that reads what is rendered.
        thinking: whether the model thinks before it answers, for templates that offer the choice.
        today: the date for templates that ask for it.
        declared_ends: end token ids that a model declares, beside this template's end of turn.
        rows: number of the model's embedding rows; None where it is not known.

    Raises:
        UserError: the tokenizer has no chat template, or no token that ends an answer.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        thinking: bool = False,
        today: date = SOME_DAY,
        declared_ends: Collection[int] = (),
        rows: int | None = None,
    ) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                f"{tokenizer.name_or_path}: its tokenizer has no chat template; "
                "use an instruction-tuned model, or add a chat_template to its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.thinking = thinking
        self.today = today
        self.declared_ends = frozenset(declared_ends)
        self.rows = rows
        if self._end_of_turn is None and tokenizer.eos_token_id is None:
            raise UserError(
                f"{tokenizer.name_or_path}: its chat template closes a turn with no special token and its tokenizer "
                "has no EOS token; set eos_token in its tokenizer_config.json"
            )

    # What the template does

    @property
    def template(self) -> str:
        """The chat template, with a fixed date."""
        return freeze_clock(self.tokenizer.get_chat_template(), self.today)

    @property
    def template_arguments(self) -> dict[str, Any]:
        """Arguments of the template. Qwen, SmolLM and GLM use the first name, DeepSeek and Granite the second."""
        return {"enable_thinking": self.thinking, "thinking": self.thinking}

    @property
    def end_id(self) -> int:
        """The token that ends an answer: the template's end of turn, or EOS where the template writes none."""
        return int(self.tokenizer.eos_token_id) if self._end_of_turn is None else self._end_of_turn

    @property
    def stop_ids(self) -> frozenset[int]:
        """All tokens that end an answer."""
        eos = self.tokenizer.eos_token_id
        return frozenset({self.end_id, *self.declared_ends, *([] if eos is None else [int(eos)])})

    @property
    def ends(self) -> list[int]:
        """`stop_ids`, with `end_id` first: some readers of a generation config take the first alone."""
        return [self.end_id, *sorted(self.stop_ids - {self.end_id})]

    @property
    def pad_token_id(self) -> int:
        """The padding token; `end_id` where the tokenizer has none (labels and attention mask hide it)."""
        pad = self.tokenizer.pad_token_id
        return self.end_id if pad is None else int(pad)

    @cached_property
    def opening(self) -> str:
        """The tag, and the blanks after it, with which the template opens the answer's thinking; usually empty."""
        return opening_of(self.prompt_text([{"role": "user", "content": "?"}]))

    @cached_property
    def opening_ids(self) -> list[int]:
        """The tokens of `opening` at the end of a prompt."""
        return self._split_prompt([{"role": "user", "content": "?"}])[1]

    @cached_property
    def thinking_tags(self) -> tuple[str, str]:
        """The tags around a thought: those that the template opens or names, else the usual ones."""
        return next((pair for pair in THINKING if pair[0] in (self.opening or self.template)), THINKING[0])

    @cached_property
    def _end_of_turn(self) -> int | None:
        """The first added token that the template writes after the last answer of a conversation."""
        answer = "ANSWER"
        turns: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        try:
            after = self._render_template(turns, generation_prompt=False).rpartition(answer)[2]
        except TemplateError:
            return None
        added = self.tokenizer.added_tokens_decoder
        return next((token for token in self._tokenize(after) if token in added and added[token].content.strip()), None)

    @cached_property
    def _knows_system_turns(self) -> bool:
        """Whether the template shows the text of a system turn to the model; some refuse it, some leave it out."""
        said = "SYSTEM"
        turns: list[Message] = [{"role": "system", "content": said}, {"role": "user", "content": "?"}]
        try:
            return said in self._render_template(turns)
        except TemplateError:
            return False

    # Prompts

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt, up to where the answer starts.

        Raises:
            UserError: the template refuses the messages, or a token has no embedding.
        """
        asked, opening = self._split_prompt(messages)
        return [*asked, *opening]

    def turns(self, messages: Sequence[Message]) -> list[Message]:
        """`messages` as the template takes them: without system turns, the first user turn begins with their text."""
        if self._knows_system_turns:
            return list(messages)
        said = [turn["content"] for turn in messages if turn["role"] == "system"]
        others = [turn for turn in messages if turn["role"] != "system"]
        for index, turn in enumerate(others):
            if said and turn["role"] == "user":
                content = "\n\n".join([*said, turn["content"]])
                return [*others[:index], {"role": "user", "content": content}, *others[index + 1 :]]
        return others

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The text of `prompt_ids`."""
        try:
            return self._render_template(self.turns(messages))
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in messages)
            raise UserError(
                f"{self.tokenizer.name_or_path}: its chat template refuses a conversation of the turns {roles} "
                f"({error}); change the messages, or the chat_template beside the model"
            ) from error

    def control_token_in(self, messages: Sequence[Message]) -> str | None:
        """The first text in `messages` that is a special token, which the model reads as markup and not as text."""
        found = (self._control_tokens.search(turn["content"]) for turn in messages) if self._control_tokens else ()
        return next((match.group() for match in found if match), None)

    @cached_property
    def _control_tokens(self) -> re.Pattern[str] | None:
        special = {entry.content for entry in self.tokenizer.added_tokens_decoder.values() if entry.special}
        longest_first = sorted(special - {""}, key=lambda token: (-len(token), token))
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def _split_prompt(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """The tokens of a prompt without the tag that opens the thinking, and the tokens of the tag."""
        text = self.prompt_text(messages)
        opening = opening_of(text)
        asked = text.removesuffix(opening)
        return self._checked(self._tokenize(asked)), self._checked(self._tokenize_after(asked, opening))

    def _render_template(self, turns: Sequence[Message], *, generation_prompt: bool = True) -> str:
        conversation: list[Any] = list(turns)
        try:
            text: Any = self.tokenizer.apply_chat_template(
                conversation,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=generation_prompt,
                **self.template_arguments,
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"  # of an expression in the template
            raise TemplateRuntimeError(reason) from error
        return str(text)

    def _tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _checked(self, ids: list[int]) -> list[int]:
        if self.rows is not None and (above := next((token for token in ids if token >= self.rows), None)) is not None:
            raise UserError(
                f"{self.tokenizer.name_or_path}: the token {self.tokenizer.convert_ids_to_tokens(above)!r} has id "
                f"{above}, and the model's embeddings have {self.rows} rows; use the tokenizer that came with the model"
            )
        return ids

    # Prompts with answers

    def sequence(self, messages: Sequence[Message], answer_ids: Sequence[int]) -> Rendered:
        """A prompt and the tokens of its answer as one sequence."""
        asked, _ = self._split_prompt(messages)
        return Rendered([*asked, *answer_ids], [IGNORE_INDEX] * len(asked) + list(answer_ids))

    def answer_ids(self, messages: Sequence[Message], response: str, *, finished: bool = True) -> list[int]:
        """The tokens of an answer that is known only as text; `end_id` closes it unless it was cut.

        The answer is tokenised as one text with its prompt. By itself, its first token would differ for tokenizers that
        put a blank before the first word.

        Where the prompt opens a thought and the text has none, an empty one goes before the text. Without it a student
        would learn to answer a prompt that it is never asked, and then answer inside a thought that it does not close.
        """
        prompt = self.prompt_text(messages)
        opening = opening_of(prompt)
        if is_without_thought(response, opening):
            response = empty_thought(opening) + response
        elif opening and opening.strip() not in response:
            response = opening + response  # the teacher's template wrote the opening tag
        known = response if finished else response.rstrip("\ufffd")  # a character cut in the middle
        answer = self._tokenize_after(prompt.removesuffix(opening), known)
        return self._checked([*answer, self.end_id] if finished else answer)

    def thought_before(self, response: str) -> list[int]:
        """The tokens to put before those of an answer, as `answer_ids` does: an empty thought, or usually none."""
        return self._empty_thought_ids if is_without_thought(response, self.opening) else []

    @cached_property
    def _empty_thought_ids(self) -> list[int]:
        before = self.prompt_text([{"role": "user", "content": "?"}]).removesuffix(self.opening)
        return self._tokenize_after(before, empty_thought(self.opening))

    def render(self, messages: Sequence[Message], response: str, *, finished: bool = True) -> Rendered:
        """A prompt and an answer that is known only as text, as one sequence; see `answer_ids`."""
        return self.sequence(messages, self.answer_ids(messages, response, finished=finished))

    def _tokenize_after(self, before: str, text: str) -> list[int]:
        """The tokens of `text` after `before`. The tokens of `before` stay as they are without `text`."""
        if not text:
            return []
        first, whole = self._tokenize(before), self._tokenize(before + text)
        if whole[: len(first)] == first:
            return whole[len(first) :]
        if not self.tokenizer.is_fast:
            return self._tokenize(text)
        spans = self.tokenizer(before + text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        index = next((i for i, (start, _) in enumerate(spans) if start >= len(before)), len(whole))
        end = spans[index][0] if index < len(whole) else len(before + text)
        straddling = (before + text)[len(before) : end]  # one token holds both this and the end of the prompt
        return [*self._tokenize(straddling), *whole[index:]]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of an answer, without special tokens except those that mark its thinking."""
        hidden = self._hidden_ids
        kept = [token for token in token_ids if token not in hidden]
        text: Any = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    @cached_property
    def _hidden_ids(self) -> frozenset[int]:
        tokenizer = self.tokenizer
        special = {int(token) for token in tokenizer.all_special_ids}
        special |= {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
        named = {token for token in special if tokenizer.convert_ids_to_tokens(token) in MARKERS}
        return frozenset(special - named | (self.stop_ids & tokenizer.added_tokens_decoder.keys()))

    # What it is

    def knows(self, token_ids: Sequence[int]) -> bool:
        """Whether every one of `token_ids` is in this vocabulary and has an embedding in the model."""
        return self._known_ids.issuperset(token_ids)

    @cached_property
    def _known_ids(self) -> frozenset[int]:
        return frozenset(token for token in self.vocabulary().values() if self.rows is None or token < self.rows)

    def vocabulary(self) -> dict[str, int]:
        """Token text -> id, added tokens included."""
        return dict(self.tokenizer.get_vocab())

    def hash(self) -> str:
        """sha256 of everything that affects the rendering: template, date, thinking, special tokens, vocabulary."""
        vocabulary = sorted(self.vocabulary().items())
        state = [self.template, self.thinking, self.tokenizer.special_tokens_map, self.end_id, vocabulary]
        return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()

    def tokenizer_for_others(self) -> PreTrainedTokenizerBase:
        """A copy of the tokenizer for libraries that render by themselves: same date, and the end of turn as EOS."""
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.chat_template = self.template
        tokenizer.eos_token = self.tokenizer.convert_ids_to_tokens(self.end_id)
        return tokenizer
