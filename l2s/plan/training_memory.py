"""Memory of a rank that trains: the fullest moment of an update, and what ranks hold to work together.

P parameters of the student, L those of one layer, R those of the embedding and the head, N ranks, e bytes of a number,
B gradients of a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from l2s.config import Quantization
from l2s.loss.fused_head import CHUNK_BYTES
from l2s.plan.model_size import ModelSize
from l2s.plan.parts import Memory
from l2s.plan.situation import Situation
from l2s.training.sharding import Sharding, bucket_numbers

CUDA_CHUNKS = 3  # chunks of logits for each of student and teacher: in bfloat16 and widened to float32
# On a CPU malloc keeps blocks of steps with other lengths: 350 MiB beside 377 MiB of activations in a measured run.
HEAP_KEEPS = 0.9
# DeepSpeed's defaults of stage3_max_live_parameters, weights that are gathered at most, and of sub_group_size, weights
# that a rank updates at a time
LIVE_PARAMETERS = SUB_GROUP = 10**9


@dataclass(frozen=True)
class Cut:
    """The micro-batches of an update on a rank: how many, and the tokens and answer tokens of the largest."""

    number: int
    tokens: float
    answer_tokens: float


def sharding_of(s: Situation) -> Sharding:
    """The sharding of a training in this situation, as `l2s.training.sharding` chooses it."""
    if s.processes == 1:
        return "none"
    if s.config.sharding != "auto":
        return s.config.sharding
    return "fsdp2" if s.config.tuning == "full" and s.hardware.is_cuda else "ddp"


def training_memory(s: Situation, cut: Cut, quantization: Quantization, models: int) -> Memory:
    """Memory of a rank at its fullest: in an update, or before it, when each rank loads the whole student."""
    loaded = Memory(weights=4 * s.trainable + _frozen_bytes(s, quantization))
    return max(loaded, _of_an_update(s, cut, quantization, models), key=lambda memory: memory.total)


def with_answers(training: Memory, s: Situation) -> Memory:
    """Memory of a rank whose student also answers: ZeRO-3 gathers all of it then, when no activations are there."""
    whole = s.student.element_bytes * s.student.parameters if sharding_of(s) == "zero3" else 0
    return replace(training, buffers=max(training.buffers, whole - training.activations))


def _of_an_update(s: Situation, cut: Cut, quantization: Quantization, models: int) -> Memory:
    """The fullest moment of an update: the backward pass frees activations while it makes gradients.

    So of both only the larger counts, unless gradients of an earlier micro-batch are there, or their room is kept, as
    ZeRO-3 does. The head's gradient comes first: it is made in the forward pass and scaled in the backward pass. After
    the backward pass DeepSpeed copies the gradients into one flat tensor.
    """
    student, trainable, full = s.student, s.trainable, s.config.tuning == "full"
    sharding = sharding_of(s)
    shards = 1 if sharding in ("none", "ddp") else s.processes
    frozen_shards = s.processes if sharding in ("fsdp2", "zero3") and quantization == "none" else 1
    gradients = 4 * trainable / shards
    checkpointed, spread = s.config.gradient_checkpointing, s.hardware.is_cuda  # on CPUs attention.py reads groups
    activations = student.training_peak(cut.tokens, full=full, checkpointed=checkpointed, spread=spread)
    kept = 0 if s.hardware.is_cuda else HEAP_KEEPS * activations
    activations += 8 * student.head if full else 0
    chunk = min(CHUNK_BYTES, student.element_bytes * cut.answer_tokens * student.vocabulary)
    chunks = models * (CUDA_CHUNKS if s.hardware.is_cuda else 1) * chunk
    both = cut.number > 1 or sharding == "zero3"
    activations = kept + (activations if both else max(activations - gradients, 0))
    buffers = chunks + _narrow_bytes(s, sharding) + shared_bytes(s, sharding)
    flat = max(_flat_gradients(s, sharding) - activations - buffers, 0)
    return Memory(
        weights=4 * trainable / shards + _frozen_bytes(s, quantization) / frozen_shards + _twin_bytes(s, sharding),
        optimizer=8 * trainable / shards + gradients + flat,  # AdamW's two moments, float32
        activations=activations,
        buffers=buffers,
    )


def _frozen_bytes(s: Situation, quantization: Quantization) -> int:
    full = s.config.tuning == "full"
    return 0 if full else s.student.weight_bytes(quantization) + s.student.scale_bytes(quantization)


def _twin_bytes(s: Situation, sharding: Sharding) -> float:
    """The trained weights that products read under DeepSpeed, which it keeps beside their float32 masters."""
    shards = {"zero2": 1, "zero3": s.processes}.get(sharding)
    return s.student.element_bytes * s.trainable / shards if shards else 0


def _narrow_bytes(s: Situation, sharding: Sharding) -> float:
    """Copies of the weights in the narrower type of the products; FSDP2 makes them of the gathered layers alone."""
    return 2 * s.student.parameters if s.config.tuning == "full" and casts(s) and sharding in ("none", "ddp") else 0


def _flat_gradients(s: Situation, sharding: Sharding) -> float:
    """The flat gradients that DeepSpeed makes for AdamW: ZeRO-2 of all weights, ZeRO-3 of SUB_GROUP at a time."""
    if sharding not in ("zero2", "zero3"):
        return 0
    return 4 * (s.trainable if sharding == "zero2" else min(s.trainable, SUB_GROUP)) / s.processes


def casts(s: Situation) -> bool:
    """Whether products run in a narrower type than the float32 weights of full tuning."""
    return s.student.element_bytes < 4


def shared_bytes(s: Situation, sharding: Sharding) -> float:
    """What a rank holds to exchange gradients and weights with the others.

    - DDP: 4 bytes for each trained weight. Gradients are copied into buckets of the same total size (torch's
      documentation of DistributedDataParallel: `gradient_as_bucket_view=True` saves "the total gradients size").
    - FSDP2: eR + 2eL, and (e + 4)L if all weights are trained. The root's weights stay gathered from the forward to the
      end of the backward pass. Beside the layer that computes, the next one is gathered already; its gradient is made
      in e bytes; and the gradient of the layer before is sent in float32, which `keep_sums_wide` asks for
      (torch/distributed/fsdp/_fully_shard: `_backward_prefetch`, and one retained state of `reduce_scatter`).
    - ZeRO-2: 3eB, and 4B if e < 4, for buckets of B gradients (`reduce_bucket_size`). Two are filled in turn
      (`overlap_comm`), and one is sent from a flat copy, which is then widened to float32.
    - ZeRO-3: 8B and e bytes of at most LIVE_PARAMETERS weights. One bucket, in float32, is filled and sent from a copy
      (DeepSpeed 0.19.8: runtime/zero/stage_1_and_2.py, stage3.py; the documentation of its configuration).
    """
    student, e, bucket = s.student, s.student.element_bytes, bucket_numbers(s.trainable)
    if sharding == "ddp":
        return 4 * s.trainable
    if sharding == "fsdp2":
        sent = e + 4 if s.config.tuning == "full" else 0
        return e * root_parameters(student) + (2 * e + sent) * layer_parameters(student)
    if sharding == "zero2":
        return (3 * e + (4 if casts(s) else 0)) * bucket
    return 8 * bucket + e * min(LIVE_PARAMETERS, student.parameters) if sharding == "zero3" else 0


def root_parameters(student: ModelSize) -> int:
    """R: the weights outside the layers, without the final norm."""
    return student.head * (1 if student.tied else 2)


def layer_parameters(student: ModelSize) -> float:
    """L: the weights of one layer."""
    return (student.parameters - root_parameters(student)) / student.layers
