"""The renderers of teacher and student, with what their models declare: end tokens and embedding rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from l2s import hub
from l2s.chat.renderer import ChatRenderer
from l2s.config import ExperimentConfig, ModelField
from l2s.errors import UserError


@dataclass(frozen=True)
class Renderers:
    """The renderers of both models. Each uses its own template; both stop at the same tokens."""

    teacher: ChatRenderer
    student: ChatRenderer

    def of(self, model: str) -> ChatRenderer:
        """The renderer of an evaluated model: the teacher's own, and the student's for every student."""
        return self.teacher if model == "teacher" else self.student

    @cached_property
    def share_vocabulary(self) -> bool:
        """Whether each id is the same token for both, so that the student can learn the teacher's tokens."""
        return self.teacher.vocabulary() == self.student.vocabulary()


def load_renderers(config: ExperimentConfig) -> Renderers:
    """The renderers of teacher and student. If they share a vocabulary, both stop at the end tokens of either.

    Raises:
        UserError: a tokenizer cannot be loaded.
    """
    if config.remote_teacher:  # the endpoint renders the prompts itself
        student = load_renderer(config, "student_model")
        return Renderers(student, student)
    both = Renderers(load_renderer(config, "teacher_model"), load_renderer(config, "student_model"))
    if both.share_vocabulary:
        ends = both.teacher.stop_ids | both.student.stop_ids
        both.teacher.declared_ends = both.student.declared_ends = ends
    return both


def load_student_renderer(config: ExperimentConfig) -> ChatRenderer:
    """The student's renderer, which stops at the teacher's end tokens too: its answers taught them.

    SFT needs nothing else of a teacher, and may run where none is; then the student stops at its own.

    Raises:
        UserError: the student's tokenizer cannot be loaded.
    """
    try:
        return load_renderers(config).student
    except UserError:
        return load_renderer(config, "student_model")


def load_renderer(config: ExperimentConfig, field: ModelField) -> ChatRenderer:
    """A renderer with the tokenizer of the model that `field` of `config` names.

    Raises:
        UserError: the tokenizer cannot be loaded.
    """
    name = getattr(config, field)
    hub.expect(name)
    try:
        return ChatRenderer(
            AutoTokenizer.from_pretrained(name, trust_remote_code=config.trust_remote_code),
            thinking=config.thinking == "on",
            today=config.prompt_date,
            declared_ends=_declared_ends(field, config),
            rows=getattr(_text_config(field, config), "vocab_size", None),
        )
    except UserError:
        raise
    except Exception as error:  # a broken file raises whatever its reader stumbles over
        if code := hub.asks_for_code(error):
            why = code
        elif Path(name).is_dir():
            reason = hub.first_line(error)
            why = f"this folder holds no tokenizer that loads ({reason}); put the tokenizer's files beside the weights"
        else:
            why = hub.explain(name, error)
        raise UserError(f"{field}={name!r}: {why}") from error


def _declared_ends(field: ModelField, config: ExperimentConfig) -> set[int]:
    """The EOS ids, one or several, that a model's generation_config.json or config.json declares."""
    ends: set[int] = set()
    with _may_be_missing(field, config, "config.json"):
        ends |= _ids(getattr(_text_config(field, config), "eos_token_id", None))
    with _may_be_missing(field, config, "generation_config.json"):
        ends |= _ids(GenerationConfig.from_pretrained(getattr(config, field)).eos_token_id)
    return ends


def _ids(declared: Any) -> set[int]:
    return {int(token) for token in (declared if isinstance(declared, list) else [declared]) if token is not None}


def _text_config(field: ModelField, config: ExperimentConfig) -> Any:
    """The configuration of a model's text part; None beside a tokenizer without a model."""
    name = getattr(config, field)
    with _may_be_missing(field, config, "config.json"):
        return AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code).get_text_config()
    return None


@contextmanager
def _may_be_missing(field: ModelField, config: ExperimentConfig, file: str) -> Iterator[None]:
    """Suppress the error of a model that has no such file; one that it has must be read.

    Raises:
        UserError: names the file of a folder that cannot be read.
    """
    name = getattr(config, field)
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a broken file raises whatever its reader stumbles over
        if hub.asks_for_code(error):
            raise
        if (Path(name) / file).exists():
            raise UserError(
                f"{field}={name!r}: its {file} cannot be used ({hub.first_line(error)}); mend that file, or copy or "
                "download the model again"
            ) from error
        if not isinstance(error, OSError | ValueError):
            raise


def check_same_vocabulary(teacher: ChatRenderer, student: ChatRenderer) -> None:
    """Require that each id is the same token for both models, because KD compares distributions token by token.

    Raises:
        UserError: the vocabularies differ; names the first token that does.
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
