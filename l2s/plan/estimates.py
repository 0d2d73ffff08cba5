"""Estimates for every stage: peak memory, time from a roofline, files.

Time is the sum of matrix products, bytes that all else moves, and operation launches. Lengths of prompts and answers
are assumed. Each estimate follows what the stage does: when the stage changes, so must its estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil, comb

from l2s.arms import MODELS, original
from l2s.config import Quantization
from l2s.plan import decoding, vllm
from l2s.plan.hardware import GIB
from l2s.plan.model_size import FORWARD, TRAINING, ModelSize
from l2s.plan.parts import Memory, Texts
from l2s.plan.situation import Estimate, Situation
from l2s.plan.training_memory import Cut, casts, sharding_of, training_memory, with_answers
from l2s.signals.record import BATCH_TOKENS
from l2s.signals.recorders import SAMPLE_ROWS
from l2s.signals.tail import OFFSET_FACTORS, RANK
from l2s.signals.topk import bytes_per_row

ASKED_AGAIN = 0.5  # share of answers that keep_correct rejects, at every try

START_S = 6.0  # imports and first use of everything, measured on the CPU
FORK_S = 1.0  # of a stage that is forked with everything imported, measured on the CPU
LINK_BYTES_S = 50e9  # between ranks: 400 Gb/s of p4d's network; NVLink inside a machine is faster
FILE_BYTES_S = 1e9  # weights and signals from and to a local SSD
HEAD_OVERHEAD = 1.25  # time of the fused loss over its matrix products; docs/PERFORMANCE.md measures 1.13 and 1.26
UPDATE_BYTES = 40  # read and written for each trained weight in an update: AdamW 28, norm and clipping 12
BATCH_BYTES = 12  # and in every batch, to add to its gradient
CAST_BYTES = 12  # and with full tuning, between float32 weights and bfloat16 products
FIDELITY_BYTES = 120  # read and written for each float32 logit that fidelity compares
CUDA_BYTES = int(0.8 * GIB)  # context and workspaces
PROCESS_BYTES = int(0.5 * GIB)  # the libraries on a CPU (tiny models: 502 MiB)
TEXT_BYTES = 5  # a token on disk: its text and its share of the row
SEQUENCE_LINE = 40  # bytes of id and lengths beside the tokens of a training sequence
REPORT_BYTES = 5 << 20  # upper bound for report.html


def estimate(stage: str, situation: Situation) -> Estimate:
    """The estimate of `stage` in `situation`."""
    found = ESTIMATES[original(stage)](situation)
    if not found.memory.total:
        return found
    process = CUDA_BYTES if situation.hardware.is_cuda else PROCESS_BYTES
    return replace(found, memory=found.memory + Memory(buffers=process))


def _prepare(s: Situation) -> Estimate:
    prompts = sum(text.number * text.prompt for text in s.training_texts + s.evaluation_texts)  # no device: one process
    return Estimate(seconds=1, disk=2 * TEXT_BYTES * prompts)  # one copy is published


def _generate(s: Situation) -> Estimate:
    config, seen = s.config, _seen_by_teacher(s.training_texts)
    texts, disk = [text for text in seen if not text.is_reference], TEXT_BYTES * _tokens(seen)
    if not texts:  # no model answers
        return Estimate(seconds=START_S, disk=disk)
    tries = _tries(config.answers_per_item, config.max_tries) if config.keep_correct else config.answers_per_item
    if config.engine == "endpoint":
        return _by_server(s, tries, texts, disk)
    drawn = config.sampling_temperature > 0
    batch_size, kind = config.generation_batch_size, config.teacher_quantization
    answering = _answer_seconds(s, s.teacher, texts, batch_size, kind, drawn=drawn)
    return Estimate(
        seconds=_loading_seconds(s, s.teacher, first=True) + tries * answering,
        disk=disk,
        memory=_answer_memory(s, s.teacher, texts, batch_size, kind),
    )


def _tries(wanted: int, most: int) -> float:
    """How often an item is asked on average, at most `most` times, until it has as many right answers as are wanted."""
    rejected = ASKED_AGAIN
    return sum(  # of each further try, the chance that the tries before it gave too few
        sum(comb(before, right) * (1 - rejected) ** right * rejected ** (before - right) for right in range(wanted))
        for before in range(most)
    )


def _by_server(s: Situation, tries: float, texts: list[Texts], disk: float) -> Estimate:
    """Answers from an endpoint: nothing is held here, and only its rate limit says how long they take."""
    limit = s.config.endpoint_per_minute
    waiting = tries * _number(texts) / limit * 60 if limit else 0
    return Estimate(START_S + waiting, disk=disk, of_server=True)


def _score(s: Situation) -> Estimate:
    texts, quantization = s.answered_texts, s.config.teacher_quantization
    signals = _signal_bytes(s, _answer_tokens(texts), s.config.teacher_signal)
    seconds = _loading_seconds(s, s.teacher) + 2 * signals / FILE_BYTES_S  # written, then read for their hash
    seconds += _forward_seconds(s, s.teacher, _seen_by_teacher(texts), BATCH_TOKENS, quantization)
    if s.config.teacher_signal == "topk":
        seconds += s.teacher.head_seconds(s.hardware, tokens=_answer_tokens(texts), passes=1) / s.processes
    batch_tokens = max(BATCH_TOKENS, longest_sequence(s, texts) + _most_context(texts))
    memory = _forward_memory(s, s.teacher, batch_tokens, quantization)
    return Estimate(seconds, signals, memory, temporary=_sequence_bytes(s, texts, for_both=True))


def _sft(s: Situation) -> Estimate:
    texts = s.answered_texts
    training = _training(s, texts, s.config.sft_epochs, s.config.sft_batch_size, models=1)
    return replace(training, temporary=_sequence_bytes(s, texts))


def _kd(s: Situation) -> Estimate:
    s = s.in_trainer()
    config, texts, teacher = s.config, s.answered_texts, s.teacher
    student = _training(s, texts, config.kd_epochs, config.kd_batch_size, models=2)
    head = HEAD_OVERHEAD * teacher.head_seconds(s.hardware, tokens=_answer_tokens(texts), passes=1) / s.processes
    if config.teacher_signal == "online":
        seen = _seen_by_teacher(texts)
        batch_tokens = config.kd_batch_size * _tokens(seen) / _number(seen)
        forward = _forward_seconds(s, teacher, seen, batch_tokens, config.teacher_quantization)
        seconds = _loading_seconds(s, teacher) + config.kd_epochs * (forward + head)
        cut = _cut(s, texts, config.kd_batch_size, _share(s, texts, config.kd_batch_size))
        longer = 1 + _most_context(texts) / longest_sequence(s, texts)
        memory = _forward_memory(s, teacher, longer * cut.tokens, config.teacher_quantization)
    else:
        exact = config.teacher_signal == "hidden"
        signals = _signal_bytes(s, _answer_tokens(texts), config.teacher_signal)
        seconds = (1 + config.kd_epochs) * signals / FILE_BYTES_S + config.kd_epochs * (head if exact else 0)
        tail = teacher.vocabulary * (RANK + OFFSET_FACTORS) * 2
        memory = Memory(weights=teacher.head * teacher.element_bytes if exact else tail)
    return replace(
        student,
        seconds=student.seconds + seconds,
        memory=student.memory + memory,
        temporary=_sequence_bytes(s, texts, for_both=True),
    )


def _opd(s: Situation) -> Estimate:
    """The student answers, the teacher reads the answers, and the student is trained on them."""
    s = s.in_trainer()
    config = s.config
    kept = {"sharding": "ddp"} if sharding_of(s) == "fsdp2" else {}  # as on_policy.opd_sharding
    of_student = {"answers": "teacher", "max_new_tokens": config.opd_max_new_tokens}  # written by a model, always
    own = s.changed(of_student | kept)
    texts, batch_size, quantization = own.training_texts, config.opd_batch_size, config.teacher_quantization
    epochs = config.opd_steps * batch_size * config.gradient_accumulation_steps / _number(texts)
    student = _training(own, texts, epochs, batch_size, models=2)
    read = _seen_by_teacher(texts)
    batch_tokens = batch_size * _tokens(read) / _number(read)
    # TRL calls `generate`; on a GPU our engine answers, unless DeepSpeed shards the student
    by_trl = not s.hardware.is_cuda or sharding_of(own) in ("zero2", "zero3")
    answering = replace(s.student, static_steps=s.student.static_steps and not by_trl)
    kind: Quantization = "nf4" if config.tuning == "qlora" else "none"
    seconds = _answer_seconds(own, answering, texts, batch_size, kind, drawn=True)
    seconds += _forward_seconds(own, s.teacher, read, batch_tokens, quantization)
    head = s.teacher.head_seconds(s.hardware, tokens=_answer_tokens(texts), passes=_number(texts) / batch_size)
    seconds += head / s.processes
    return replace(
        student,
        seconds=student.seconds + _loading_seconds(s, s.teacher, by_vllm=False) + epochs * seconds,
        memory=with_answers(student.memory, own)
        + _forward_memory(
            own, s.teacher, batch_size * (longest_sequence(own, texts) + _most_context(texts)), quantization
        ),
    )


def _training(s: Situation, texts: list[Texts], epochs: float, batch_size: int, *, models: int) -> Estimate:
    """A training whose loss needs the logits of `models`: the student, and for KD the teacher."""
    config, student, trainable = s.config, s.student, s.trainable
    full = config.tuning == "full"
    quantization: Quantization = "nf4" if config.tuning == "qlora" else "none"
    updates = ceil(_number(texts) / (batch_size * config.gradient_accumulation_steps) * epochs)
    share = _share(s, texts, batch_size)
    cut = _cut(s, texts, batch_size, share)
    batches = updates * cut.number
    mean_length, on_a_rank = _tokens(texts) / _number(texts), min(updates * share, epochs * _number(texts))
    passes = student.seconds(
        s.hardware,
        TRAINING[full, config.gradient_checkpointing],
        tokens=on_a_rank * mean_length,
        passes=batches,
        length=mean_length,
        quantization=quantization,
    )
    products = 3 if full else 2  # logits, gradient of the hidden states, and the head's gradient if it is trained
    answers = on_a_rank * _answer_tokens(texts) / _number(texts)
    head = products * student.head_seconds(s.hardware, tokens=answers, passes=batches)
    moved = trainable * (UPDATE_BYTES * updates + (BATCH_BYTES + CAST_BYTES * (full and casts(s))) * batches)
    final = 2 * student.parameters
    state = 12 * trainable  # float32: the weight and AdamW's two moments
    return Estimate(
        seconds=_loading_seconds(s, student, by_vllm=False)
        + passes
        + HEAD_OVERHEAD * head
        + moved / s.hardware.bandwidth
        + _exchange_seconds(s, updates, batches)
        + (0 if full else student.checkpoint_bytes / FILE_BYTES_S)
        + final / FILE_BYTES_S,  # merged and written
        disk=final + (0 if full else 4 * trainable),
        scratch=min(3, ceil(updates / config.save_steps)) * state,
        memory=training_memory(s, cut, quantization, models),
    )


def _share(s: Situation, texts: list[Texts], batch_size: int) -> int:
    """The sequences of an update on each rank."""
    return ceil(min(batch_size * s.config.gradient_accumulation_steps, _number(texts)) / s.processes)


def _cut(s: Situation, texts: list[Texts], batch_size: int, share: int) -> Cut:
    """Cut `share` sequences as `l2s.training.updates` does: by a number of sequences, or by a number of tokens."""
    longest, answer = longest_sequence(s, texts), max(text.longest_answer for text in texts)
    if most := s.config.tokens_per_batch:
        number = ceil(share / max(1.0, most * _number(texts) / _tokens(texts)))
        sequences = min(share, max(1.0, most / longest))
    else:
        sequences = min(batch_size, share)
        number = ceil(share / sequences)
    return Cut(number, sequences * longest, sequences * min(answer, longest))


def _exchange_seconds(s: Situation, updates: float, batches: float) -> float:
    """Time of sending gradients between ranks, and weights if they are sharded."""
    if s.processes == 1:
        return 0.0
    shared = 6 * s.student.parameters * batches if s.config.tuning == "full" else 0  # gathered twice, reduced once
    return (8 * s.trainable * updates + shared) / LINK_BYTES_S


def _evaluate(s: Situation, *, model: str) -> Estimate:
    config, texts = s.config, s.evaluation_texts
    if model == "student_base":  # nothing has taught it to end its answers: one in every batch runs to the limit
        texts = [replace(text, longest_answer=config.max_new_tokens) for text in texts]
    if model == "teacher" and config.remote_teacher:
        return _by_server(s, 1, texts, TEXT_BYTES * _tokens(texts))
    size = s.teacher if model == "teacher" else s.student
    quantization: Quantization = config.teacher_quantization if model == "teacher" else "none"
    share = min(1, config.fidelity_size / _number(texts)) if config.measures_fidelity else 0
    compared = share * _answer_tokens(texts)
    loads = 2 if s.by_vllm and share else 1  # vLLM starts once for answers and once for hidden states
    seconds = loads * _loading_seconds(s, size) + _answer_seconds(s, size, texts, config.eval_batch_size, quantization)
    s = s if s.by_vllm else replace(s, processes=1)  # one replica measures fidelity when all answers are there
    seconds += share * _forward_seconds(s, size, texts, _tokens(texts) / _number(texts), quantization)
    seconds += sum(one.head_seconds(s.hardware, tokens=compared, passes=1) for one in (size, s.teacher))
    seconds += FIDELITY_BYTES * compared * size.vocabulary / s.hardware.bandwidth
    memory = _answer_memory(s, size, texts, config.eval_batch_size, quantization)
    signals = _signal_bytes(s, compared, "hidden") if model == "teacher" else 0
    return Estimate(
        seconds,
        disk=TEXT_BYTES * _tokens(texts) + signals,
        memory=_with_head(s, memory, size, quantization) if share else memory,
    )


def _with_head(s: Situation, answering: Memory, size: ModelSize, quantization: Quantization) -> Memory:
    """Fidelity needs the teacher's head; vLLM restarts for it, with a smaller share of the memory."""
    head = Memory(weights=s.teacher.head * s.teacher.element_bytes)
    if not s.by_vllm:
        return answering + head
    scoring = vllm.vllm_memory(s.hardware, size, quantization, split=s.split, runner="pooling") + head
    return max(answering, scoring, key=lambda memory: memory.total)


ESTIMATES: dict[str, Callable[[Situation], Estimate]] = {
    "prepare": _prepare,
    "generate": _generate,
    "score": _score,
    "sft": _sft,
    "kd": _kd,
    "opd": _opd,
    **{f"evaluate_{model}": partial(_evaluate, model=model) for model in MODELS},
    "report": lambda s: Estimate(seconds=START_S, disk=REPORT_BYTES),
}


def _number(texts: list[Texts]) -> float:
    return sum(text.number for text in texts)


def _tokens(texts: list[Texts]) -> float:
    return sum(text.number * (text.prompt + text.answer) for text in texts)


def _answer_tokens(texts: list[Texts]) -> float:
    return sum(text.number * text.answer for text in texts)


def _seen_by_teacher(texts: list[Texts]) -> list[Texts]:
    """The same with teacher_context in the prompts."""
    return [
        replace(text, prompt=text.prompt + text.context, longest_prompt=text.longest_prompt + round(text.context))
        for text in texts
    ]


def _most_context(texts: list[Texts]) -> int:
    return max(round(text.context) for text in texts)


def longest_sequence(s: Situation, texts: list[Texts]) -> int:
    """Tokens of the longest prompt with its answer."""
    config = s.config
    return min(config.max_length, max(text.longest_prompt for text in texts) + config.max_new_tokens)


def _sequence_bytes(s: Situation, texts: list[Texts], *, for_both: bool = False) -> float:
    """The training sequences in TMPDIR: 4 bytes a token and a short line each, for every process of a machine.

    `for_both` adds the teacher's sequences, which are stored where they differ from the student's.
    """
    machine = s.fleet.per_machine if s.fleet else s.processes * s.split
    other = [text for text in _seen_by_teacher(texts) if text.context] if for_both else []
    tokens = _tokens(texts) + _tokens(other)
    return min(s.processes, max(1, machine // s.split)) * (4 * tokens + SEQUENCE_LINE * _number(texts))


def _signal_bytes(s: Situation, tokens: float, signal: str) -> float:
    """Stored signals and their shared tensors: the head, or the tail's model and exact logits of a sample."""
    teacher = s.teacher
    if signal == "topk":
        row = bytes_per_row(s.config.topk, teacher.vocabulary, RANK)
        return tokens * row + teacher.vocabulary * (4 + 2 * RANK + 2 * SAMPLE_ROWS)
    return (tokens * teacher.hidden + teacher.head) * teacher.element_bytes


def _loading_seconds(s: Situation, size: ModelSize, *, by_vllm: bool | None = None, first: bool = False) -> float:
    """Start of the process and of the model; the processes of a machine read the same files once.

    On a CPU the `first` stage waits for the imports that all share.
    """
    by_vllm = s.by_vllm if by_vllm is None else by_vllm
    start = vllm.VLLM_START_S if by_vllm else START_S if first or s.hardware.is_cuda else FORK_S
    return start + size.checkpoint_bytes / FILE_BYTES_S


def _forward_seconds(
    s: Situation, size: ModelSize, texts: list[Texts], batch_tokens: float, quantization: Quantization
) -> float:
    tokens = _tokens(texts)
    length = tokens / _number(texts)
    if s.by_vllm:
        return vllm.prefill_seconds(s.hardware, size, tokens=tokens, length=length, split=s.split) / vllm.VLLM_SHARE
    tokens /= s.processes
    passes = ceil(tokens / batch_tokens)
    return size.seconds(s.hardware, FORWARD, tokens=tokens, passes=passes, length=length, quantization=quantization)


def _forward_memory(s: Situation, size: ModelSize, batch_tokens: float, quantization: Quantization) -> Memory:
    if s.by_vllm:
        return vllm.vllm_memory(s.hardware, size, quantization, split=s.split, runner="pooling")
    return Memory(
        weights=(size.weight_bytes(quantization) + size.scale_bytes(quantization)) / s.split,
        activations=size.forward_peak(batch_tokens),
        buffers=batch_tokens * size.hidden * size.element_bytes,
    )


def _answer_seconds(
    s: Situation,
    size: ModelSize,
    texts: list[Texts],
    batch_size: int,
    quantization: Quantization,
    *,
    drawn: bool = False,
) -> float:
    texts = _of_a_process(s, texts)
    if s.by_vllm:
        return vllm.answer_seconds(s.hardware, size, texts, quantization, split=s.split)
    return decoding.answer_seconds(s.hardware, size, texts, batch_size, quantization, split=s.split, drawn=drawn)


def _answer_memory(
    s: Situation, size: ModelSize, texts: list[Texts], batch_size: int, quantization: Quantization
) -> Memory:
    if s.by_vllm:
        return vllm.vllm_memory(s.hardware, size, quantization, split=s.split, runner="generate")
    texts, most = _of_a_process(s, texts), s.config.max_new_tokens
    return decoding.answer_memory(s.hardware, size, texts, batch_size, quantization, max_new_tokens=most, split=s.split)


def _of_a_process(s: Situation, texts: list[Texts]) -> list[Texts]:
    """The share of `texts` that each of the stage's processes answers."""
    return [replace(text, number=text.number / s.processes) for text in texts]
