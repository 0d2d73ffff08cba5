"""Students train on what was said: tokens, ends of turns, thinking and dates, for many tokenizers and templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AddedToken, PreTrainedTokenizerFast

from l2s.chat import ChatRenderer, load_renderers
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.generation.answers import answer_items
from l2s.generation.engines.protocol import Completion, Sampling
from l2s.loss.reference import IGNORE_INDEX
from l2s.models.tiny import build_tokenizer
from l2s.sequences import render_answer
from l2s.tasks.chat_answer import without_thinking
from l2s.tasks.math import grade
from l2s.tasks.types import Item, Message

ASKED: list[Message] = [{"role": "user", "content": "1 + 1?"}]
PLAIN: Any = ASKED
QUESTION = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
THINKS = "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"


def byte_tokenizer(template: str, *, added: tuple[str, ...] = (), eos: str = "<|im_end|>") -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    tokenizer.eos_token = eos
    tokenizer.chat_template = template
    return tokenizer


def sentencepiece_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """As Llama's: a blank goes before the first word, newlines are bytes of their own."""
    words = [
        "<unk>",
        "<s>",
        "</s>",
        "▁It",
        "It",
        "▁is",
        "▁2",
        ".",
        "▁assistant",
        "assistant",
        ":",
        "▁user",
        "user",
        "▁1",
    ]
    letters = sorted({letter for word in words[3:] for letter in word} | set("+?▁"))
    pieces = [*words, *letters, "<0x0A>"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = []
    for word in words[3:]:
        for cut in range(1, len(word)):
            left, right = word[:cut], word[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((left, right))
                break
            vocabulary.setdefault(left, len(vocabulary))
    for word in list(words[3:]):
        for end in range(2, len(word) + 1):
            vocabulary.setdefault(word[:end], len(vocabulary))
            if (word[: end - 1], word[end - 1]) not in merges:
                merges.append((word[: end - 1], word[end - 1]))
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>", chat_template=template)


ZEPHYR = (
    "{% for m in messages %}{{ m.role }}:\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


def test_a_text_is_tokenised_with_its_prompt_where_a_tokenizer_puts_a_blank_before_the_first_word() -> None:
    renderer = ChatRenderer(sentencepiece_tokenizer(ZEPHYR))
    alone = renderer.tokenizer.convert_ids_to_tokens(
        renderer.tokenizer("It is 2.", add_special_tokens=False)["input_ids"]
    )
    assert alone[0] == "▁It"  # the error of tokenising them separately

    rendered = renderer.render(ASKED, "It is 2.")

    first = len(rendered.input_ids) - rendered.num_response_tokens
    tokens = renderer.tokenizer.convert_ids_to_tokens(rendered.input_ids[first:])
    assert tokens == ["It", "▁is", "▁2", ".", "</s>"]
    assert rendered.input_ids[:first] == renderer.prompt_ids(ASKED)
    whole = renderer.tokenizer(renderer.prompt_text(ASKED) + "It is 2.", add_special_tokens=False)["input_ids"]
    assert rendered.input_ids == [*whole, renderer.end_id]


def test_a_prompt_keeps_its_tokens_where_the_answer_would_merge_with_its_end() -> None:
    core = Tokenizer(models.BPE(vocab={"a": 0, "\n": 1, "\n\n": 2, "b": 3, "</s>": 4}, merges=[("\n", "\n")]))
    core.add_special_tokens(["</s>"])
    template = (
        "{% for m in messages %}a{% if m.role == 'assistant' %}{{ m.content }}</s>{% endif %}{% endfor %}{{ '\\n' }}"
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", chat_template=template)
    renderer = ChatRenderer(tokenizer)
    assert renderer.prompt_text(ASKED) == "a\n"
    assert renderer.render(ASKED, "\nb").input_ids == [0, 1, 1, 3, 4]


@pytest.mark.parametrize(
    ("closing", "added", "end"),
    [
        ("<|im_end|>", (), "<|im_end|>"),
        ("<|im_end|>\n", (), "<|im_end|>"),
        ("<end_of_turn>\n", ("<end_of_turn>",), "<end_of_turn>"),
        ("<|end|>\n", ("<|end|>",), "<|end|>"),
        ("<|end|>\n{{ eos_token }}", ("<|end|>",), "<|end|>"),
        ("<|eot_id|>", ("<|eot_id|>",), "<|eot_id|>"),
        (" </s>", ("</s>",), "</s>"),
        ("{{ eos_token }}", (), "<|endoftext|>"),
        ("\n\n", (), "<|endoftext|>"),  # the template closes with no special token
        ("[END]\n", (), "<|endoftext|>"),  # text that is not a token
    ],
)
def test_the_end_of_a_turn_is_what_the_template_writes(closing: str, added: tuple[str, ...], end: str) -> None:
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}" + closing + "{% endfor %}" + PROMPT
    renderer = ChatRenderer(byte_tokenizer(template, added=added, eos="<|endoftext|>"))

    assert renderer.tokenizer.convert_ids_to_tokens(renderer.end_id) == end
    assert renderer.render(ASKED, "2").input_ids[-1] == renderer.end_id
    assert renderer.stop_ids >= {renderer.end_id, renderer.tokenizer.eos_token_id}
    assert renderer.decode([*renderer.answer_ids(ASKED, "It is 2.")]) == "It is 2."


def test_a_template_that_refuses_the_probe_ends_with_eos() -> None:
    refuses = "{% if m.role != 'user' %}{{ raise_exception('no') }}{% endif %}"
    template = "{% for m in messages %}" + refuses + "{{ m.content }}{% endfor %}"
    renderer = ChatRenderer(byte_tokenizer(template))
    assert renderer.end_id == renderer.tokenizer.eos_token_id


@pytest.mark.parametrize(
    "template", ["{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}", ""]
)
def test_a_system_turn_that_a_template_refuses_or_leaves_out_begins_the_first_user_turn(template: str) -> None:
    says = "{% for m in messages %}{% if m.role == 'user' %}Q: {{ m.content }}\n{% endif %}{% endfor %}"
    renderer = ChatRenderer(byte_tokenizer(template + says))
    asked: list[Message] = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert renderer.prompt_text(asked) == "Q: Be brief.\n\n1 + 1?\n"
    assert ChatRenderer(byte_tokenizer(QUESTION + PROMPT)).turns(asked) == asked


def test_messages_that_a_template_refuses_are_a_clear_error() -> None:
    template = "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0].content }}"
    with pytest.raises(UserError, match="one turn only"):
        ChatRenderer(byte_tokenizer(template)).prompt_ids([*ASKED, {"role": "assistant", "content": "2"}, *ASKED])


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ messages[0].content + 3 }}", "TypeError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ messages[0].content.split('') }}", "ValueError"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ({"tool_use": "a", "rag": "b"}, "no default"),
    ],
)
def test_a_template_that_fails_is_a_clear_error(template: Any, why: str) -> None:
    with pytest.raises(UserError, match=f"its chat template refuses .*{why}"):
        ChatRenderer(byte_tokenizer(template)).prompt_ids(ASKED)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "05 Feb 2026"),
        ("{{ strftime_now('%Y-%m-%d') }}", "2026-02-05"),
        ("{{ strftime_now('%B %-d, %Y') }}", "February 5, 2026"),
        (
            "{% if not date_string is defined %}{% if strftime_now is defined %}"
            "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{% endif %}{{ date_string }}",
            "05 Feb 2026",
        ),
        ("{% macro head() %}{{ strftime_now('%Y') }}{% endmacro %}{{ head() }}", "2026"),
    ],
)
def test_rendering_does_not_depend_on_the_clock(template: str, said: str) -> None:
    renderer = ChatRenderer(byte_tokenizer(template), today=date(2026, 2, 5))
    assert renderer.prompt_text(ASKED) == said
    assert renderer.hash() != ChatRenderer(byte_tokenizer(template), today=date(2026, 2, 6)).hash()
    copied: Any = renderer.tokenizer_for_others().apply_chat_template(PLAIN, tokenize=False)
    assert copied == said
    assert renderer.tokenizer.chat_template == template  # the template saved with the student is unchanged


def test_a_template_without_a_clock_is_rendered_as_it_is() -> None:
    template = "\n  {% for m in messages %}\n  {{ m.content }}{% endfor %}"
    plain: Any = byte_tokenizer(template).apply_chat_template(PLAIN, tokenize=False)
    assert ChatRenderer(byte_tokenizer(template)).prompt_text(ASKED) == plain
    clocked = template + "{% if false %}{{ strftime_now('%d') }}{% endif %}"
    assert ChatRenderer(byte_tokenizer(clocked)).prompt_text(ASKED) == plain


def row(renderer: ChatRenderer, ids: list[int] | None, text: str, reason: str = "stop") -> Mapping[str, Any]:
    return {"id": "a", "messages": ASKED, "response": text, "finish_reason": reason, "token_ids": ids}


def test_what_the_teacher_wrote_is_trained_token_by_token() -> None:
    added = ("[THINK]", "[/THINK]")
    renderer = ChatRenderer(byte_tokenizer(QUESTION + PROMPT, added=added))
    said = "[THINK]17? The answer is 17.[/THINK]It is 18."
    ids = renderer.answer_ids(ASKED, said)
    assert renderer.tokenizer.convert_tokens_to_ids("[THINK]") == ids[0]

    sequence = render_answer(row(renderer, ids, renderer.decode(ids)), renderer)

    assert [label for label in sequence.labels if label != IGNORE_INDEX] == ids
    assert renderer.decode(ids) == said
    assert grade(renderer.decode(ids), "18").score == 1


def test_channels_of_an_answer_are_trained_and_its_final_one_is_graded() -> None:
    added = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>")
    template = (
        "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}"
        "<|message|>{{ m.content }}{% if m.role == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    )
    renderer = ChatRenderer(byte_tokenizer(template, added=added))
    said = "<|channel|>analysis<|message|>17?<|end|><|start|>assistant<|channel|>final<|message|>It is 18."
    ids = renderer.answer_ids(ASKED, said)
    assert renderer.tokenizer.convert_ids_to_tokens(ids[-1]) == "<|return|>"
    assert renderer.decode(ids) == said
    assert without_thinking(renderer.decode(ids)) == "It is 18."
    assert without_thinking(renderer.decode(ids[:30])) is None  # cut in its analysis


def test_an_answer_that_was_cut_inside_a_character_is_learned_as_the_bytes_it_has() -> None:
    renderer = ChatRenderer(byte_tokenizer(QUESTION + PROMPT))
    ids = renderer.answer_ids(ASKED, "2 €", finished=False)[:-1]
    text = renderer.decode(ids)
    assert text.endswith("\ufffd")
    assert render_answer(row(renderer, ids, text, "length"), renderer).input_ids[-len(ids) :] == ids
    old = render_answer(row(renderer, None, text, "length"), renderer)  # a file without ids
    assert renderer.decode(old.input_ids).endswith("2 ")


def test_an_old_file_without_token_ids_is_tokenised_with_its_prompt() -> None:
    renderer = ChatRenderer(sentencepiece_tokenizer(ZEPHYR))
    old = {name: value for name, value in row(renderer, None, "It is 2.").items() if name != "token_ids"}
    assert render_answer(old, renderer).input_ids == renderer.render(ASKED, "It is 2.").input_ids


def test_teacher_and_student_read_one_answer_after_their_own_prompts() -> None:
    closed = "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
    teacher, student = (ChatRenderer(byte_tokenizer(QUESTION + prompt)) for prompt in (PROMPT, closed))
    ids = teacher.answer_ids(ASKED, "It is 2.")

    sequence = render_answer(row(teacher, ids, "It is 2."), student, teacher)

    theirs = sequence.for_teacher()
    assert sequence.input_ids == [*student.prompt_ids(ASKED), *ids]
    assert theirs.input_ids == [*teacher.prompt_ids(ASKED), *ids]
    counted = [[label for label in part.labels if label != IGNORE_INDEX] for part in (sequence, theirs)]
    assert counted == [ids, ids]
    cut = sequence.cut(len(sequence.input_ids) - 3)
    assert cut.num_response_tokens == cut.for_teacher().num_response_tokens == len(ids) - 3


class Thinker:
    """An engine whose answer closes a block that the prompt has opened."""

    def __init__(self, renderer: ChatRenderer, text: str) -> None:
        self.renderer, self.text = renderer, text

    def batches(self, requests: Any, sampling: Any) -> Any:
        """All at once."""
        return [list(requests)]

    def generate(self, requests: Any, sampling: Any, *, done: Any = ()) -> Any:
        """One answer."""
        for request in requests:
            assert str(self.renderer.tokenizer.decode(request.prompt_ids)).endswith("<think>\n")
            ids = self.renderer.tokenizer(self.text, add_special_tokens=False)["input_ids"]
            yield [Completion(request.id, self.text, "stop", len(ids), 0.1, ids)]


@pytest.mark.parametrize(("text", "visible"), [("17?</think>It is 18.", "It is 18."), ("17? #### 17", None)])
def test_a_tag_that_the_prompt_opens_belongs_to_the_answer(tmp_path: Path, text: str, visible: str | None) -> None:
    teacher = ChatRenderer(byte_tokenizer(QUESTION + THINKS), thinking=True)
    student = ChatRenderer(byte_tokenizer(QUESTION + PROMPT), thinking=True)
    item = Item(id="a", domain="math", source="test", messages=ASKED, reference="18", meta={})

    answer = answer_items([item], Thinker(teacher, text), teacher, Sampling(9), tmp_path / "log.jsonl", label="t")["a"]

    assert answer.text == "<think>\n" + text
    assert without_thinking(answer.text) in (visible, "\n" + str(visible))
    sequence = render_answer(row(teacher, answer.token_ids, answer.text), student, teacher)
    assert sequence.teacher_input_ids is None  # the same tokens: the student learns to open the tag itself
    assert student.decode(sequence.input_ids[len(student.prompt_ids(ASKED)) :]) == answer.text


@pytest.mark.parametrize("teachers", [PROMPT, THINKS])
@pytest.mark.parametrize("with_ids", [False, True])
def test_a_student_whose_prompt_opens_a_thought_learns_to_close_it(teachers: str, with_ids: bool) -> None:
    """It is asked with the tag. A reference solution, or a teacher that does not think, says nothing of it."""
    teacher, student = (ChatRenderer(byte_tokenizer(QUESTION + prompt), thinking=True) for prompt in (teachers, THINKS))
    ids = ChatRenderer(byte_tokenizer(QUESTION + PROMPT)).answer_ids(ASKED, "It is 2.") if with_ids else None
    sequence = render_answer(row(teacher, ids, "It is 2."), student, teacher)
    asked, learned = student.prompt_ids(ASKED), "<think>\n\n</think>\n\nIt is 2."
    assert sequence.input_ids[: len(asked)] == asked
    for part in (sequence, sequence.for_teacher()):
        assert student.decode([label for label in part.labels if label != IGNORE_INDEX]) == learned
    assert str(without_thinking(learned)).strip() == "It is 2."
    assert sequence.for_teacher().input_ids[: len(teacher.prompt_ids(ASKED))] == teacher.prompt_ids(ASKED)


def test_an_answer_with_a_thought_gets_no_other() -> None:
    student = ChatRenderer(byte_tokenizer(QUESTION + THINKS), thinking=True)
    for said in ("<think>\n1?</think>2", "<think>\n1? cut"):
        assert student.decode(student.answer_ids(ASKED, said)) == said
        assert student.thought_before(said) == []
    assert student.decode(student.answer_ids(ASKED, "1?</think>2")) == "<think>\n1?</think>2"
    plain = ChatRenderer(byte_tokenizer(QUESTION + PROMPT))
    assert (plain.thought_before("2"), plain.decode(plain.answer_ids(ASKED, "2"))) == ([], "2")


@pytest.mark.parametrize(("thinking", "shown"), [("on", True), ("off", False)])
def test_thinking_is_a_setting_of_teacher_and_student(
    tiny_config: Callable[..., ExperimentConfig], thinking: Any, shown: bool
) -> None:
    both = load_renderers(tiny_config(thinking=thinking))
    for renderer in (both.teacher, both.student):
        renderer.tokenizer.chat_template = "{{ enable_thinking }} {{ thinking }} {{ messages[0].content }}"
        assert renderer.prompt_text(ASKED) == f"{shown} {shown} 1 + 1?"
    assert tiny_config(thinking=thinking == "on").thinking == thinking  # as YAML reads on and off


def test_vocabularies_are_compared_once_and_not_for_every_answer(
    tiny_config: Callable[..., ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 150,000 tokens, a comparison for each of a thousand answers took minutes."""
    compared = Mock(return_value={"a": 0})
    monkeypatch.setattr(ChatRenderer, "vocabulary", compared)
    both = load_renderers(tiny_config())
    assert [both.share_vocabulary for _ in range(10)] == [True] * 10
    assert compared.call_count == 2


def test_both_models_stop_at_the_same_tokens(
    tiny_config: Callable[..., ExperimentConfig], tiny_model_dir: Path
) -> None:
    both = load_renderers(tiny_config())
    assert both.teacher.stop_ids == both.student.stop_ids
    assert both.teacher.end_id in both.student.stop_ids
