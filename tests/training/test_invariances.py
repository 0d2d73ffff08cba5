"""What must not change the objective: how a batch is split over steps and ranks, its layout, and the teacher."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.devices import torch_dtype
from l2s.jsonl import load_jsonl, write_jsonl
from l2s.loss.objective import Objective
from l2s.loss.reference import DIVERGENCES, distillation_loss
from l2s.loss.targets import HiddenTargets
from l2s.models.load import load_model, load_student_for_training
from l2s.run_dir import RunDir
from l2s.sequences import Collator, SequenceDataset, load_sequences
from l2s.signals import record, score
from l2s.signals.store import read_signals
from l2s.signals.teachers import OnlineTeacher, StoredTeacher
from l2s.training.kd import kd_objective
from l2s.training.student import SFT_OBJECTIVE, StudentWithLoss
from l2s.training.trainer import Schedule, train

MakeConfig = Callable[..., ExperimentConfig]
HERE = Path(__file__).parent


def write_responses(run_dir: RunDir, count: int = 24) -> None:
    """Answers of very different lengths, so that a mean of means would show."""
    rows = [
        {
            "id": f"sum/{number}",
            "messages": [{"role": "user", "content": f"{number} plus {number % 5}?" + " Think." * (number % 3)}],
            "response": "It is " + "so " * (number % 7) + str(number + number % 5),
            "finish_reason": "stop",
        }
        for number in range(count)
    ]
    run_dir.responses.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(run_dir.responses, rows)


class Setting:
    """A configuration with its rendered answers, student and teacher."""

    def __init__(self, config: ExperimentConfig, count: int = 24) -> None:
        self.config = config
        self.run_dir = RunDir.of(config)
        write_responses(self.run_dir, count)
        self.renderer = load_renderer(config, "student_model")
        self.sequences, _ = load_sequences(self.run_dir.responses, self.renderer, config)
        self.teacher_model = load_model(config.teacher_model, config)
        self.collator = Collator(self.renderer.pad_token_id)

    def items(self) -> list[dict[str, Any]]:
        return [{"input_ids": item.input_ids, "labels": item.labels} for item in self.sequences]

    @property
    def num_items(self) -> int:
        return sum(item.num_response_tokens for item in self.sequences)

    def student(self, objective: Objective | None = None) -> StudentWithLoss:
        student = load_student_for_training(self.config.student_model, self.config)
        return StudentWithLoss(student, objective or kd_objective(self.config))

    def gradients(
        self, batches: Sequence[dict[str, Tensor]], objective: Objective | None = None, *, with_teacher: bool = True
    ) -> dict[str, Tensor]:
        """Loss and gradients of the batches together, as one update sees them."""
        student, teacher = self.student(objective), OnlineTeacher(self.teacher_model)
        total = torch.zeros(())
        for batch in batches:
            targets = teacher.targets(batch) if with_teacher else None
            loss = student(**batch, targets=targets, num_items_in_batch=self.num_items)["loss"]
            loss.backward()
            total += loss.detach()
        grads = {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}
        return {"loss": total, **grads}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Each tensor within 1e-5 of the other, relative to its norm."""
    assert actual.keys() == expected.keys()
    for name, want in expected.items():
        difference = float((actual[name] - want).norm() / want.norm())
        assert difference < 1e-5, (name, difference)


@pytest.fixture
def setting(tiny_config: MakeConfig) -> Setting:
    return Setting(tiny_config(tuning="full", kd_init="base", kd_lr=1e-3))


def split(items: list[dict[str, Any]], parts: int) -> list[list[dict[str, Any]]]:
    size = len(items) // parts
    return [items[start : start + size] for start in range(0, len(items), size)]


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_batches_give_the_gradient_of_one(setting: Setting, parts: int) -> None:
    whole = setting.gradients([setting.collator(setting.items())])

    assert_same(setting.gradients([setting.collator(part) for part in split(setting.items(), parts)]), whole)


def test_padding_side_does_not_matter(setting: Setting) -> None:
    left = Collator(setting.renderer.pad_token_id, padding_side="left")

    assert_same(setting.gradients([left(setting.items())]), setting.gradients([setting.collator(setting.items())]))


def test_packed_sequences_do_not_see_each_other(setting: Setting) -> None:
    packed = Collator(setting.renderer.pad_token_id, packed=True)

    assert_same(setting.gradients([packed(setting.items())]), setting.gradients([setting.collator(setting.items())]))


def test_alpha_1_is_sft_to_the_bit(setting: Setting) -> None:
    batch = [setting.collator(setting.items())]
    kd = setting.gradients(batch, Objective(alpha=1.0, temperature=2.0))
    sft = setting.gradients(batch, SFT_OBJECTIVE, with_teacher=False)

    assert all(torch.equal(kd[name], sft[name]) for name in sft)


@pytest.mark.parametrize(
    "objective",
    [Objective(alpha, temperature) for alpha in (0.0, 0.5) for temperature in (1.0, 2.0, 4.0)]
    + [Objective(0.5, 2.0, divergence, 0.3) for divergence in DIVERGENCES],
    ids=str,
)
def test_student_with_loss_is_the_loss_of_its_logits(setting: Setting, objective: Objective) -> None:
    """Compared with the models' own logits, shifted here, and autograd in float64."""
    student = setting.student(objective)
    teacher, reference = setting.teacher_model, load_student_for_training(setting.config.student_model, setting.config)
    reference, teacher64 = reference.double(), load_model(setting.config.teacher_model, setting.config).double()
    total = torch.zeros((), dtype=torch.float64)
    for item in setting.sequences:
        tokens, labels = torch.tensor([item.input_ids]), torch.tensor([item.labels])
        logits = reference(input_ids=tokens).logits[:, :-1]
        teacher_logits = teacher64(input_ids=tokens).logits[:, :-1]
        sums = distillation_loss(logits, teacher_logits, labels[:, 1:], **asdict(objective))
        total = total + sums.loss_sum / setting.num_items
    torch.autograd.backward(total)

    batch = setting.collator(setting.items())
    loss = student(**batch, targets=OnlineTeacher(teacher).targets(batch), num_items_in_batch=setting.num_items)["loss"]
    loss.backward()

    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    expected = {name: weight.grad.float() for name, weight in reference.named_parameters() if weight.grad is not None}
    actual = {name.removeprefix("student."): weight.grad for name, weight in student.named_parameters()}
    assert_same({name: grad for name, grad in actual.items() if grad is not None}, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_stored_hidden_states_are_the_teacher(tiny_config: MakeConfig, dtype: str) -> None:
    """To the bit on the batch that was scored, as are the loss and its gradients."""
    setting = Setting(tiny_config(tuning="full", dtype=dtype))
    score.run(setting.config, setting.run_dir)
    store = read_signals(setting.run_dir.teacher_signals)
    (scored,) = record.plan_shards(setting.sequences, record.SHARD_ROWS)
    batch = setting.collator([SequenceDataset(scored, store)[index] for index in range(len(scored))])
    stored = StoredTeacher(store, torch.device("cpu")).targets(batch)
    online = OnlineTeacher(setting.teacher_model).targets(batch)
    assert isinstance(stored, HiddenTargets)
    assert isinstance(online, HiddenTargets)
    assert stored.hidden.dtype == torch_dtype(setting.config)
    assert torch.equal(stored.hidden, online.hidden)
    assert torch.equal(stored.weight, online.weight)
    inputs = {name: value for name, value in batch.items() if not name.startswith("teacher_")}

    results = []
    for targets in (stored, online):
        student = setting.student()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = student(**inputs, targets=targets)["loss"]
        loss.backward()
        grads = {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}
        results.append({"loss": loss.detach(), **grads})

    assert len(results[0]) > 20
    assert_same(*results)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_bfloat16_agrees_with_float64(tiny_config: MakeConfig, divergence: str) -> None:
    setting = Setting(tiny_config(tuning="full", dtype="bfloat16", divergence=divergence))
    batch = setting.collator(setting.items())
    with torch.autocast("cpu", torch.bfloat16):
        low = setting.student()(**batch, targets=OnlineTeacher(setting.teacher_model).targets(batch))["loss"]
    teacher = OnlineTeacher(load_model(setting.config.teacher_model, setting.config).double())
    high = setting.student().double()(**batch, targets=teacher.targets(batch))["loss"]

    assert low.item() == pytest.approx(high.item(), rel=1e-2)


def test_qlora_is_the_loss_of_its_dequantised_weights(tiny_config: MakeConfig) -> None:
    """NF4 weights under LoRA compared with the same numbers in plain linear layers, whose logits autograd follows."""
    setting = Setting(tiny_config(tuning="qlora", lora_dropout=0.0))
    plain = Setting(tiny_config(experiment_name="plain", tuning="lora", lora_dropout=0.0))
    student, reference = setting.student(), plain.student().student
    quantized = {name: module for name, module in student.student.named_modules() if isinstance(module, Linear4bit)}
    assert len(quantized) == 14
    with torch.no_grad():
        for name, module in quantized.items():
            weight = reference.get_parameter(f"{name}.weight")
            before = weight.clone()
            weight.copy_(dequantize_4bit(module.weight, module.weight.quant_state))
            assert not torch.equal(weight, before)
        generator = torch.Generator().manual_seed(0)
        for name, weight in reference.named_parameters():
            if weight.requires_grad:  # at the start B is 0, and so is the gradient of A
                weight.normal_(std=0.1, generator=generator)
                student.student.get_parameter(name).copy_(weight)
    batch = setting.collator(setting.items())
    targets = OnlineTeacher(setting.teacher_model).targets(batch)
    loss = student(**batch, targets=targets)["loss"]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits, taught = (model(**inputs).logits for model in (reference, setting.teacher_model))
    objective = asdict(kd_objective(setting.config))
    expected = distillation_loss(logits, taught, batch["labels"], **objective).loss_sum
    torch.autograd.backward([loss, expected])

    def found(module: nn.Module, value: Tensor) -> dict[str, Tensor]:
        grads = {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}
        return {"loss": value.detach(), **grads}

    actual = found(student.student, loss)
    assert len(actual) == 1 + 2 * len(quantized)
    assert_same(actual, found(reference, expected))


def on_ranks(count: int, *command: str) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    subprocess.run([*launch, *command], env=environment, check=True)


def train_on_ranks(config: ExperimentConfig, count: int, folder: Path) -> None:
    """Run train_ranks.py on 22 answers: with two ranks and batches of 4, one rank has none at the end."""
    write_responses(RunDir.of(config), count=22)
    file = folder / f"{config.experiment_name}.json"
    file.write_text(config.model_dump_json(), encoding="utf-8")
    on_ranks(count, str(HERE / "train_ranks.py"), str(file), str(folder))


UPDATES: dict[str, Any] = {"tuning": "full", "kd_lr": 1e-3, "gradient_accumulation_steps": 2, "kd_batch_size": 4}


def assert_same_curve(config: ExperimentConfig, other: ExperimentConfig, suffix: str = "") -> None:
    found = load_jsonl(RunDir(RunDir.of(config).root.with_name(config.experiment_name + suffix)).kd / "metrics.jsonl")
    assert len(found) == 3
    for left, right in zip(found, metrics(other), strict=True):
        assert left == pytest.approx(right, rel=1e-5)


def test_three_ranks_train_as_one_also_where_memory_runs_out(tiny_config: MakeConfig, tmp_path: Path) -> None:
    """An update of 8 is shared as 3, 3 and 2."""
    three, one = (tiny_config(experiment_name=name, **UPDATES) for name in ("three", "one"))
    train_on_ranks(three, 3, tmp_path)
    setting = Setting(one, count=22)
    load_script(HERE / "train_ranks.py").train_steps(one, setting.sequences, setting.collator)
    assert_same_curve(three, one)
    assert_same_curve(three, one, "-short")


def test_two_ranks_train_as_one(tiny_config: MakeConfig, tmp_path: Path) -> None:
    """DDP through the trainer, also where memory runs out; DDP and FSDP2 on one batch."""
    two = tiny_config(experiment_name="two", **UPDATES)
    train_on_ranks(two, 2, tmp_path)

    one = Setting(tiny_config(experiment_name="one", **UPDATES), count=22)
    ranks = load_script(HERE / "train_ranks.py")
    ranks.train_steps(one.config, one.sequences, one.collator)
    expected = ranks.gradients(one.config, one.sequences, one.collator, "none")

    assert_same_curve(two, one.config)
    assert_same_curve(two, one.config, "-short")
    for wrapping in ("ddp", "fsdp2"):
        assert_same(torch.load(tmp_path / f"{wrapping}.pt"), expected)
    alone = {
        tuning: ranks.step_and_save(
            one.config.model_copy(update={"tuning": tuning}), one.sequences, one.renderer, tmp_path / tuning, "none"
        )
        for tuning in ("full", "lora")
    }
    for wrapping, tuning in ranks.SAVED:
        for several, single in zip(
            torch.load(tmp_path / f"{wrapping}-{tuning}-heldout.pt"), alone[tuning], strict=True
        ):
            assert several == pytest.approx(single, rel=1e-5)
        assert_same(saved_weights(tmp_path / f"{wrapping}-{tuning}"), saved_weights(tmp_path / tuning))


def saved_weights(folder: Path) -> dict[str, Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder / "final_model").state_dict())


def metrics(config: ExperimentConfig) -> list[dict[str, Any]]:
    return load_jsonl(RunDir.of(config).kd / "metrics.jsonl")


def load_script(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_trainer_divides_once_by_the_tokens_of_all_accumulated_batches(tiny_config: MakeConfig, steps: int) -> None:
    def run(accumulation: int) -> list[dict[str, Any]]:
        name, size = f"by-{accumulation}", 8 // accumulation
        fields = {"gradient_accumulation_steps": accumulation, "kd_batch_size": size}
        setting = Setting(tiny_config(experiment_name=name, tuning="full", **fields))
        schedule = Schedule(2, size, 1e-3)  # an update is an epoch: which sequences share a batch depends on its size
        teacher, dataset = OnlineTeacher(setting.teacher_model), SequenceDataset(setting.sequences[:8])
        folder = setting.run_dir.kd
        train(setting.student(), dataset, setting.collator, setting.config, schedule, folder, teacher=teacher)
        return metrics(setting.config)

    for left, right in zip(run(steps), run(1), strict=True):
        assert left == pytest.approx(right, rel=1e-5)
