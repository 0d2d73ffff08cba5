"""Memory and compute of a model, from its configuration alone: it is built without memory.

Byte counts come from watching transformers 5.23 run Qwen3 layers (the allocator, and every operation's tensors);
tests/plan/test_model_size.py repeats the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from l2s.config import ExperimentConfig, Quantization
from l2s.devices import torch_dtype
from l2s.generation.engines.static_decoding import allows_static_steps
from l2s.models.head import output_head
from l2s.models.load import checkpoint_bytes, count_parameters, load_config, prepare_for_training, weight_bytes
from l2s.models.stored import attention_heads, empty_model
from l2s.plan.hardware import Hardware


@dataclass(frozen=True)
class Pattern:
    """One kind of pass through a decoder layer.

    Attributes:
        products: number of times that every active weight is multiplied with each token.
        hidden, gathered, intermediate, queries, keys: bytes in bfloat16 that operations other than products read and
            write for a token, per unit of the layer's sizes (`gathered`: the hidden state of each chosen expert).
        launches: operations, in units of a forward pass of a layer.
    """

    products: int
    hidden: int
    gathered: int
    intermediate: int
    queries: int
    keys: int
    launches: float


GRAPH_LAYER_S = 0.25e-3  # beside products and bytes, of a layer in a CUDA graph: what is missing to the measured 14 ms
INT8_LAUNCHES = 3.7  # LLM.int8 quantises rows and separates outliers: Qwen2.5-0.5B, T4, 24.4 tokens/s became ~6.3
VLLM_BYTES: dict[str, float] = {"fp8": 1.0, "awq": 0.53, "gptq": 0.53}  # of a weight, experts and scales included
EXPERT_COPIES = 3  # transformers on CUDA, decoding: each token's experts are gathered (read, written) and multiplied
FORWARD = Pattern(1, 84, 16, 10, 65, 57, 1.0)
TRAINING = {  # (all weights?, checkpointed?); an update of LoRA needs no product for the frozen weights' gradient
    (True, False): Pattern(3, 400, 64, 28, 294, 262, 3.2),
    (True, True): Pattern(4, 496, 80, 38, 397, 341, 4.3),
    (False, False): Pattern(2, 468, 64, 86, 234, 214, 4.7),
    (False, True): Pattern(3, 616, 80, 128, 321, 291, 6.6),
}


@dataclass(frozen=True)
class Kept:
    """Bytes that a layer keeps of a token for its backward pass, per unit of the layer's sizes (see `Pattern`)."""

    hidden: int
    gathered: int
    intermediate: int
    queries: int
    keys: int


KEPT = {  # (all weights?, bytes of an element); float32 needs no copies in another type
    (True, 2): Kept(26, 8, 8, 10, 10),
    (False, 2): Kept(18, 4, 8, 10, 8),
    (True, 4): Kept(24, 16, 16, 16, 16),
    (False, 4): Kept(16, 8, 16, 12, 12),
}


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a causal language model.

    Attributes:
        parameters: number of weights; a tied weight counts once.
        expert_parameters: number of weights in experts; a token uses experts_per_token of num_experts.
        linear_parameters: number of weights in linear layers other than the output head; only these can be quantised.
        bytes: size of all weights and buffers in the dtype of the run.
        element_bytes: size of one number of that dtype.
        head: number of weights of the output head.
        tied: whether the head is the embedding.
        layers, hidden, vocabulary: number of decoder layers, hidden size, and rows of the head.
        intermediate: width of a token's MLP, over all its experts.
        queries, keys: number of heads times their width; 0 without attention.
        checkpoint_bytes: size of the files that are read to load the model.
        static_steps: whether it can decode in steps of one shape.
    """

    parameters: int
    expert_parameters: int
    linear_parameters: int
    bytes: int
    element_bytes: int
    head: int
    tied: bool
    layers: int
    hidden: int
    vocabulary: int
    intermediate: int
    queries: int
    keys: int
    num_experts: int
    experts_per_token: int
    checkpoint_bytes: int
    static_steps: bool = True

    @property
    def active_parameters(self) -> int:
        """Number of weights that one token uses."""
        return self.parameters - self.expert_parameters + self._experts_used(1)

    @property
    def body(self) -> int:
        """Number of active weights that multiply: without the head, and without the embedding, which is a look-up."""
        return self.active_parameters - self.head * (1 if self.tied else 2)

    @property
    def cache_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return 2 * self.layers * self.keys * self.element_bytes

    def weight_bytes(self, quantization: Quantization) -> int:
        """Bytes of the loaded weights, as transformers counts them: without quantisation scales."""
        kept = {"none": self.element_bytes, "int8": 1.0, "nf4": 0.5} | VLLM_BYTES
        quantised = self.linear_parameters + (self.expert_parameters if quantization in VLLM_BYTES else 0)
        return self.bytes - int(quantised * (self.element_bytes - kept[quantization]))

    def scale_bytes(self, quantization: Quantization) -> int:
        """Bytes of quantisation scales: for NF4 one byte for each block of 64 weights, for int8 next to nothing."""
        return self.linear_parameters // 64 if quantization == "nf4" else 0

    def read_bytes(self, quantization: Quantization, tokens: float, *, gathered: bool = False) -> float:
        """Bytes of layer weights that one pass over `tokens` tokens reads.

        bitsandbytes multiplies a single token by packed NF4 weights; for more tokens, and in training, it first unpacks
        them to `element_bytes` in memory. `gathered`: each token gets a copy of its experts.
        """
        experts = tokens * EXPERT_COPIES * self._experts_used(1) if gathered else self._experts_used(tokens)
        unpacked = 0.0 if tokens <= 1 else 2.0 * self.element_bytes
        per_weight = {"none": self.element_bytes, "int8": 1.0, "nf4": 0.5 + unpacked} | VLLM_BYTES
        rest = self.body - self._experts_used(1)
        if quantization in VLLM_BYTES:
            return (rest + experts) * per_weight[quantization]
        quantised = min(rest, self.linear_parameters)
        return quantised * per_weight[quantization] + (rest - quantised + experts) * self.element_bytes

    def _experts_used(self, tokens: float) -> int:
        """Number of expert weights that `tokens` tokens use together, if each chooses experts at random."""
        if not self.num_experts:
            return 0
        missed = (1 - self.experts_per_token / self.num_experts) ** max(1.0, tokens)
        return int(self.expert_parameters * (1 - missed))

    def forward_peak(self, tokens: float) -> float:
        """Peak bytes of activations in a pass without gradients, in its widest layer.

        A mixture of experts holds each chosen expert's input and output, and between them both halves of its gate.
        """
        if self.num_experts:
            wide = (4 + 2 * self.experts_per_token) * self.hidden + 4 * self.intermediate
        else:
            wide = 4 * self.hidden + 3 * self.intermediate
        return tokens * wide * self.element_bytes

    def training_peak(self, tokens: float, *, full: bool, checkpointed: bool, spread: bool) -> float:
        """Bytes of activations at the start of the backward pass.

        A checkpointed model keeps only the hidden states between layers, which are float32 if all weights are trained,
        and recomputes one layer at a time. `spread`: keys and values are copied for all heads of their groups.
        """
        kept = KEPT[full, self.element_bytes]
        copies = 2 * self.element_bytes if spread else 0
        layer = (
            (kept.hidden + kept.gathered * self.experts_per_token) * self.hidden
            + kept.intermediate * self.intermediate
            + (kept.queries + copies) * self.queries
            + (kept.keys - copies) * self.keys
        )
        between = 4 if full else self.element_bytes
        all_layers = self.layers * between * self.hidden + layer if checkpointed else self.layers * layer
        return tokens * (all_layers + (18 * self.hidden + 6 * self.intermediate) * self.element_bytes / 2)

    def seconds(
        self,
        hardware: Hardware,
        pattern: Pattern,
        *,
        tokens: float,
        passes: float,
        length: float,
        quantization: Quantization = "none",
        gathered: bool = False,
        captured: bool = False,
    ) -> float:
        """Time in transformers of `passes` passes over `tokens` tokens in total, each of which attends to `length`.

        `gathered`: see `read_bytes`. `captured`: a pass is one CUDA graph, which the host launches in no time.
        """
        flops = tokens * (2 * self.body + 4 * length * self.queries * self.layers)
        a_pass = self.read_bytes(quantization, tokens / max(passes, 1e-9), gathered=gathered)
        products = pattern.products * hardware.product_seconds(flops, passes * a_pass)
        moving = tokens * self.layers * self.moved_bytes(pattern) / hardware.bandwidth
        if captured:
            return products + moving + passes * self.layers * GRAPH_LAYER_S
        host = passes * self.layers * pattern.launches * hardware.layer_seconds
        if quantization == "int8":  # in each product the host waits for the number of outliers, so it never runs ahead
            return products + moving + INT8_LAUNCHES * host
        return max(products + moving, host) if hardware.is_cuda else products + moving + host

    def moved_bytes(self, pattern: Pattern) -> float:
        """Bytes that operations other than products read and write for a token in a layer."""
        hidden = (pattern.hidden + pattern.gathered * self.experts_per_token) * self.hidden
        others = pattern.intermediate * self.intermediate + pattern.queries * self.queries + pattern.keys * self.keys
        return (hidden + others) * self.element_bytes / 2

    def head_seconds(self, hardware: Hardware, *, tokens: float, passes: float, products: int = 1) -> float:
        """Time of the output head on `tokens` positions."""
        return products * hardware.product_seconds(2 * tokens * self.head, passes * self.head * self.element_bytes)


def size_of(name: str, config: ExperimentConfig) -> ModelSize:
    """The sizes of a model, from its configuration and, if there is one, the index of its weights.

    Raises:
        UserError: the configuration cannot be loaded.
    """
    text = load_config(name, config).get_text_config()
    model = empty_model(name, config)
    embedding, head = model.get_input_embeddings().weight, output_head(model).weight
    experts = sum(weight.numel() for path, weight in model.named_parameters() if ".experts." in path)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module.weight is not head]
    chosen = int(text.num_experts_per_tok) if experts else 0
    width = _mlp_width(text, of_expert=experts > 0)
    heads = attention_heads(name, config)
    head_dim = (getattr(text, "head_dim", None) or text.hidden_size // heads) if heads else 0
    return ModelSize(
        parameters=count_parameters(model),
        expert_parameters=experts,
        linear_parameters=sum(module.weight.numel() for module in linear),
        bytes=weight_bytes(model),
        element_bytes=torch_dtype(config).itemsize,
        head=head.numel(),
        tied=head is embedding,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=len(head),
        intermediate=width * (chosen or 1),
        queries=heads * head_dim,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * head_dim,
        num_experts=_number_of_experts(text) if experts else 0,
        experts_per_token=chosen,
        checkpoint_bytes=checkpoint_bytes(name) or 2 * count_parameters(model),
        static_steps=allows_static_steps(model),
    )


def lora_parameters(name: str, config: ExperimentConfig) -> int:
    """Number of LoRA weights that `config` adds to a model, quantised or not.

    Raises:
        UserError: the configuration cannot be loaded, or LoRA cannot be put on the model.
    """
    student = prepare_for_training(empty_model(name, config), config.model_copy(update={"tuning": "lora"}))
    return sum(weight.numel() for weight in student.parameters() if weight.requires_grad)


def _mlp_width(text: Any, *, of_expert: bool) -> int:
    """Width of the MLP, or of one expert; the widest where layers differ.

    GPT-2, OPT and Falcon have other names for it. Mamba 2 has no MLP, but widens the hidden state `expand` times.
    """
    names = ["intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"]
    if of_expert:
        names.insert(0, "moe_intermediate_size")
    found = next((width for name in names if (width := getattr(text, name, None))), None)
    if found is None:
        return int(getattr(text, "expand", 4) * text.hidden_size)
    return int(max(found) if isinstance(found, list | tuple) else found)


def _number_of_experts(text: Any) -> int:
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    return int(next(number for name in names if (number := getattr(text, name, None))))
