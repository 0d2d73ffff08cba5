"""Decoding a batch in steps of one shape, which finished answers leave.

A step writes into tensors that stay where they are: keys and values, the mask, positions, answers. So keys and values
are not copied to lengthen them, and between segments of the answers the finished ones leave the batch.

On a GPU a step can be captured, as a CUDA graph, and replayed: a step of a small model takes the GPU less time than
Python needs to launch its thousand kernels. Each segment has a graph of its own, over the keys up to its end.

Shapes: B prompts, S slots of the longest prompt and its answer, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from l2s.generation.engines.protocol import Sampling
from l2s.models.attention import ATTENTION

SEGMENT_STEPS = {"cuda": 64, "cpu": 1}  # a graph is captured for each segment; a CPU captures none
LEAVE_TOGETHER = 1 / 8  # share of the batch that must have ended: to leave, the others' keys and values are copied
# Positions of a prefill, padding included: their activations are in memory at a time. A CPU needs few to be busy.
PREFILL_TOKENS = {"cuda": 1 << 16, "cpu": 1 << 12}
ALIGNED = 16  # attention kernels take masks whose rows begin at such multiples


def has_static_steps(model: PreTrainedModel) -> bool:
    """Whether the model decodes in steps of one shape: it allows them, its attention is ours, and it is on one device.

    A step writes all its tensors on that device, and a CUDA graph belongs to one.
    """
    ours = {name for name, _ in ATTENTION.values()}
    is_whole = len({weight.device for weight in model.parameters()}) == 1
    return is_whole and model.config.get_text_config()._attn_implementation in ours and allows_static_steps(model)


def allows_static_steps(model: PreTrainedModel) -> bool:
    """Whether steps of one shape are possible: all layers see all tokens, and transformers can compile the model."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        kinds == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and bool(getattr(model, "_can_compile_fullgraph", False))
        and "logits_to_keep" in inspect.signature(model.forward).parameters
    )


class StaticKeys(Cache):
    """Keys and values of `slots` positions for each prompt, allocated once.

    A prefill fills the first positions of some rows. After `begin_decoding`, a step writes the position `slot` of all
    rows and reads the first `length`.
    """

    def __init__(self, rows: int, slots: int) -> None:
        super().__init__(layers=[])
        self.rows, self.slots = rows, slots
        self.filled = slice(0, 0)  # the rows of the prefill
        self.slot: Tensor | None = None
        self.length = 0
        self.stored: list[tuple[Tensor, Tensor]] = []

    def begin_decoding(self, width: int) -> Tensor:
        """From now on steps of one token come; they write at the slot that is returned, [1], behind `width` others."""
        self.length = width
        self.slot = torch.tensor([width], device=self.stored[0][0].device)
        return self.slot

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store [rows, groups, T, D]; returns what the queries see."""
        if layer_idx == len(self.stored):  # zeros: what no query sees is multiplied with 0, and must not be NaN
            shapes = [(self.rows, new.shape[1], self.slots, new.shape[3]) for new in (key_states, value_states)]
            keys, values = (key_states.new_zeros(shape) for shape in shapes)
            self.stored.append((keys, values))
        keys, values = self.stored[layer_idx]
        if self.slot is None:
            width = key_states.shape[2]
            keys[self.filled, :, :width] = key_states
            values[self.filled, :, :width] = value_states
            return key_states, value_states
        keys.index_copy_(2, self.slot, key_states)
        values.index_copy_(2, self.slot, value_states)
        return keys[:, :, : self.length], values[:, :, : self.length]

    def keep(self, rows: Tensor) -> None:
        """Keep these rows alone, one layer after another."""
        for layer, both in enumerate(self.stored):
            keys, values = (self._kept(old, rows) for old in both)
            self.stored[layer] = (keys, values)

    def _kept(self, old: Tensor, rows: Tensor) -> Tensor:
        """What is stored for `rows`; on a CPU, slots that nothing was written to take no memory."""
        new = old.new_zeros((len(rows), *old.shape[1:]))
        new[:, :, : self.length] = old[rows, :, : self.length]
        return new

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The positions are always given to the model."""
        return 0


@dataclass
class Running:
    """The tensors of a batch that a step reads and changes.

    Attributes:
        token: the last token of each row, [B, 1].
        position: its place in the row, without padding, [B, 1].
        mask: which slots hold a token of the row, [B, 1, 1, S].
        answers: the tokens of the answers so far, [B, steps].
        slot: the slot that `token` goes to, [1].
        step: where the next token goes in `answers`, [1].
    """

    token: Tensor
    position: Tensor
    mask: Tensor
    answers: Tensor
    slot: Tensor
    step: Tensor

    def keep(self, rows: Tensor) -> None:
        """Keep these rows alone."""
        for name in ("token", "position", "mask", "answers"):
            setattr(self, name, getattr(self, name)[rows])


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Set[int],
    pad_id: int,
    seed: int,
) -> list[list[int]]:
    """Up to `sampling.max_new_tokens` further tokens of each sequence; what follows a stop token means nothing.

    Raises:
        torch.OutOfMemoryError: keys and values do not fit; nothing was computed yet, or all is lost.
    """
    torch.manual_seed(seed)
    steps, segment = sampling.max_new_tokens, SEGMENT_STEPS[model.device.type]
    running, cache = _prefill(model, sequences, sampling, pad_id)
    stops = torch.tensor(sorted(stop_ids), device=model.device)
    numbers = torch.arange(len(sequences))  # of the rows that still run
    found: list[list[int]] = [[] for _ in sequences]
    width = max(map(len, sequences))
    for start in range(1, steps + segment, segment):
        ended = torch.isin(running.answers[:, :start], stops).any(1)
        if start >= steps or ended.all():
            break
        if ended.sum() >= LEAVE_TOGETHER * len(ended):
            _take(found, numbers, running, ended)
            rows = (~ended).nonzero()[:, 0]
            numbers = numbers[rows.cpu()]
            running.keep(rows)
            cache.keep(rows)
        end = min(start + segment, steps)
        cache.length = min(_aligned(width + end), cache.slots)
        _repeat(_step_of(model, running, cache, sampling), end - start, model.device)
    _take(found, numbers, running, torch.ones(len(numbers), dtype=torch.bool))
    return found


def _take(found: list[list[int]], numbers: Tensor, running: Running, which: Tensor) -> None:
    """Copy the answers so far of some rows into `found`."""
    done = min(int(running.step), running.answers.shape[1])
    which = which.cpu()
    for number, answer in zip(numbers[which].tolist(), running.answers[:, :done].cpu()[which].tolist(), strict=True):
        found[number] = answer


def _prefill(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], sampling: Sampling, pad_id: int
) -> tuple[Running, StaticKeys]:
    """The batch after its prompts, padded on the left, with the first token of each answer."""
    device, width, rows = model.device, max(map(len, sequences)), len(sequences)
    slots = _aligned(width + sampling.max_new_tokens)
    cache = StaticKeys(rows, slots)
    tokens_BT = torch.tensor([[pad_id] * (width - len(tokens)) + list(tokens) for tokens in sequences]).to(device)
    lengths = torch.tensor([len(tokens) for tokens in sequences]).to(device)
    is_real_BT = torch.arange(width, device=device) >= width - lengths[:, None]
    positions_BT = (is_real_BT.cumsum(1) - 1).clamp(min=0)
    first: list[Tensor] = []
    chunk = max(1, PREFILL_TOKENS[device.type] // width)
    below = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    itself = torch.eye(width, dtype=torch.bool, device=device)  # padding sees itself, or its attention would be NaN
    for start in range(0, rows, chunk):
        cache.filled = slice(start, start + chunk)
        logits = _logits(
            model,
            input_ids=tokens_BT[cache.filled],
            attention_mask=(below & is_real_BT[cache.filled, None, None, :]) | itself,
            position_ids=positions_BT[cache.filled],
            past_key_values=cache,
        )
        first.append(pick(logits, sampling))
    mask = torch.zeros(rows, 1, 1, slots, dtype=torch.bool, device=device)
    mask[:, 0, 0, :width] = is_real_BT
    answers = torch.full((rows, sampling.max_new_tokens), pad_id, device=device)
    answers[:, 0] = torch.cat(first)
    step = torch.tensor([1], device=device)
    slot = cache.begin_decoding(width)
    return Running(answers[:, :1].clone(), lengths[:, None].clone(), mask, answers, slot, step), cache


def _logits(model: PreTrainedModel, **inputs: Any) -> Tensor:
    """The logits after the last position, [B, V]."""
    return cast(Tensor, model(**inputs, use_cache=True, logits_to_keep=1).logits[:, -1])


def pick(logits: Tensor, sampling: Sampling) -> Tensor:
    """The next token of each row of logits [B, V]: the likeliest, or drawn from the nucleus of probability `top_p`."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p  # the token that reaches top_p is inside
        probabilities = torch.zeros_like(probabilities).scatter_(1, order, ordered.masked_fill(outside, 0))
    waits = torch.empty_like(probabilities).exponential_()  # the first of exponential waits at these rates is a draw
    return (probabilities / waits).argmax(-1)


def _step_of(model: PreTrainedModel, running: Running, cache: StaticKeys, sampling: Sampling) -> Callable[[], None]:
    """One step of the batch: it takes the last tokens and appends the next ones."""

    def step() -> None:
        running.mask.index_fill_(3, running.slot, True)
        logits = _logits(
            model,
            input_ids=running.token,
            attention_mask=running.mask[..., : cache.length],
            position_ids=running.position,
            past_key_values=cache,
        )
        chosen = pick(logits, sampling)[:, None]
        running.answers.index_copy_(1, running.step, chosen)
        running.token.copy_(chosen)
        for counter in (running.position, running.slot, running.step):
            counter.add_(1)

    return step


def _repeat(step: Callable[[], None], times: int, device: torch.device) -> None:
    """Run `step` so often: the first time as it is, then on a GPU as a graph, if it can be captured."""
    step()
    if times == 1:
        return
    graph = _capture(step) if device.type == "cuda" else None
    for _ in range(times - 1):
        if graph is None:
            step()
        else:
            graph.replay()
    if graph is not None:
        torch.cuda.synchronize()  # before the graph and its memory go


def _capture(step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
    """The step as a graph; None where the model does what cannot be captured in it, such as a copy to the host.

    Capturing computes nothing, so after a failure the step runs as before.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _say_once(f"decoding without a CUDA graph: {str(error).splitlines()[0]}")
        return None
    return graph


@cache
def _say_once(text: str) -> None:
    """OPD decodes in each of its updates."""
    print(text, flush=True)


def _aligned(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
