"""The stored top-k signal: its bytes, its exact mass, and a tail that follows the token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l2s.loss.logit_transform import IDENTITY, LogitTransform
from l2s.loss.targets import write_teacher_logits
from l2s.signals.tail import LEVELS, RANK, TailFit, TailModel, steps
from l2s.signals.topk import TopkEncoder, bytes_per_row, decode, pack_bits, unpack_bits

VOCABULARY, SIZE, TOPK, TEMPERATURE = 600, 12, 16, 2.0


class Teacher:
    """Random hidden states of falling variance under a random head; the tail is fitted to the first rows only."""

    def __init__(self, transform: LogitTransform = IDENTITY) -> None:
        generator = torch.Generator().manual_seed(5)
        spread = 2.0 * 0.7 ** torch.arange(SIZE)
        self.hidden = torch.randn(500, SIZE, generator=generator) * spread + 0.3
        self.head = torch.randn(VOCABULARY, SIZE, generator=generator)
        self.transform = transform
        self.logits = transform.apply(self.hidden @ self.head.T)

    def fit(self, rank: int, rows: int = 400) -> TailModel:
        fit = TailFit(self.head, TOPK, TEMPERATURE)
        fit.add(self.hidden[:rows], self.logits[:rows])
        return fit.model(rank, self.transform)

    def stored(self, rank: int, dtype: torch.dtype = torch.float32, topk: int = TOPK) -> tuple[Tensor, Tensor]:
        """log q of the rows that the tail was not fitted to, [100, V]: as KD reads it, and exact."""
        tail = self.fit(rank)
        rows = TopkEncoder(topk, TEMPERATURE, tail).encode(self.logits[400:], self.hidden[400:])
        read = torch.empty(100, VOCABULARY, dtype=dtype)
        write_teacher_logits(read, decode(rows, topk, tail.factors()), slice(None), read, TEMPERATURE, IDENTITY)
        return read.float() / TEMPERATURE, (self.logits[400:] / TEMPERATURE).log_softmax(-1)

    def divergence(self, rank: int) -> float:
        """KL from the exact distribution to the one that KD reads, for each token."""
        read, truth = self.stored(rank)
        return float((truth.exp() * (truth - read.log_softmax(-1))).sum(-1).mean())


@pytest.mark.parametrize("transform", [IDENTITY, LogitTransform(scale=0.5)])
def test_components_beat_the_mean_shape_on_tokens_that_were_not_fitted(transform: LogitTransform) -> None:
    teacher = Teacher(transform)
    mean_shape, few, all_of_them = (teacher.divergence(rank) for rank in (0, 4, SIZE))
    assert few < 0.4 * mean_shape
    assert all_of_them < 0.05 * mean_shape


@pytest.mark.parametrize("rank", [0, 4, SIZE])
def test_the_mean_tail_of_the_model_is_that_of_the_sample(rank: int) -> None:
    teacher = Teacher()
    probs = (teacher.logits[:400] / TEMPERATURE).softmax(-1)
    kept = probs.topk(TOPK, dim=-1).indices
    tails = probs.scatter(1, kept, 0.0)
    tail = teacher.fit(rank)
    modelled = (tail.logits(tail.codes(teacher.hidden[:400])) / TEMPERATURE).scatter(1, kept, -torch.inf).softmax(-1)
    modelled *= tails.sum(-1, keepdim=True)
    torch.testing.assert_close(modelled.sum(0), tails.sum(0), rtol=0.2, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("rank", [0, 4])
def test_the_mass_outside_the_top_k_is_that_of_the_teacher(rank: int, dtype: torch.dtype, tolerance: float) -> None:
    read, truth = Teacher().stored(rank, dtype)
    kept = truth.topk(TOPK, dim=-1).indices
    masses = [log_q.exp().scatter(1, kept, 0.0).sum(-1) for log_q in (read, truth)]
    assert masses[1].min() < 0.3 < 0.9 < masses[1].max()
    torch.testing.assert_close(*masses, rtol=tolerance, atol=0)


def test_keeping_the_whole_vocabulary_keeps_the_distribution() -> None:
    read, truth = Teacher().stored(4, topk=VOCABULARY)
    torch.testing.assert_close(read, truth, rtol=0, atol=1e-2)


def test_a_code_is_within_half_a_step_of_the_projection() -> None:
    teacher = Teacher()
    tail = teacher.fit(4)
    projected = (teacher.hidden - tail.mean) @ tail.projection
    codes = tail.codes(teacher.hidden)
    inside = (codes > 0) & (codes < LEVELS - 1)
    assert inside.float().mean() > 0.9
    assert (steps(codes) - projected)[inside].abs().max() <= 0.5 + 1e-5
    assert torch.equal(steps(codes).bfloat16().float(), steps(codes))


def test_factors_and_weights_multiply_to_the_logits_of_the_model() -> None:
    teacher = Teacher()
    tail = teacher.fit(4)
    rows = TopkEncoder(TOPK, TEMPERATURE, tail).encode(teacher.logits[:9], teacher.hidden[:9])
    read = decode(rows, TOPK, tail.factors()).tail
    assert read is not None
    product = read.weights.bfloat16().float() @ read.factors.float().T  # as in a bfloat16 product
    expected = tail.logits(tail.codes(teacher.hidden[:9])) + rows["tail_offsets"][:, None]
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-3)


def test_the_model_comes_back_from_its_tensors() -> None:
    tail = Teacher().fit(4)
    again = TailModel.of(tail.tensors())
    for one, other in zip(vars(tail).values(), vars(again).values(), strict=True):
        assert torch.equal(one, other)


def test_a_sample_of_one_token_gives_a_model() -> None:
    teacher = Teacher()
    tail = teacher.fit(4, rows=1)
    assert all(tensor.isfinite().all() for tensor in vars(tail).values())
    assert tail.logits(tail.codes(teacher.hidden)).isfinite().all()


@pytest.mark.parametrize("vocabulary", [49_152, 151_936, 262_208])
def test_a_token_of_topk_64_takes_at_most_300_bytes(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, hidden = torch.randn(3, vocabulary, generator=generator), torch.randn(3, 40, generator=generator)
    tail = TailModel(torch.zeros(vocabulary), torch.zeros(vocabulary, RANK), torch.zeros(40), torch.ones(40, RANK))

    rows = TopkEncoder(64, TEMPERATURE, tail).encode(logits, hidden)

    size = sum(tensor[0].numel() * tensor.element_size() for tensor in rows.values())
    assert size == bytes_per_row(64, vocabulary, RANK) <= 300
    assert torch.equal(decode(rows, 64, tail.factors()).ids, logits.topk(64).indices)


@pytest.mark.parametrize("bits", [1, 4, 9, 18])
def test_packed_bits_come_back(bits: int) -> None:
    values = torch.randint(1 << bits, (5, 7), generator=torch.Generator().manual_seed(0))
    values[0] = (1 << bits) - 1

    packed = pack_bits(values, bits)

    assert packed.shape == (5, -(-7 * bits // 8))
    assert torch.equal(unpack_bits(packed, bits, 7), values)
