"""Health of on-policy distillation: what each update shows beside the loss, and a student that runs away."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from l2s.chat import load_renderer
from l2s.errors import UserError
from l2s.generation.engines.protocol import Sampling
from l2s.jsonl import Row
from l2s.loss.reference import distillation_loss
from l2s.models.load import load_model, load_student_for_training
from l2s.models.tiny import END, save_tiny_model
from l2s.report.numbers.opd import opd_health
from l2s.report.text.strings import Text
from l2s.report.text.warnings import say
from l2s.run_dir import RunDir
from l2s.training import on_policy
from l2s.training.agreement import evenly, reverse_kl, top_k_overlap
from l2s.training.end_of_turn import EndOfTurn, sample_turns
from l2s.training.runaway import WINDOW, Watch, all_runaways, runaway_at_end
from l2s.training.teacher_prompts import TeacherView
from support.on_policy import ASKED, PROMPTS, MakeConfig, metrics, run, short_trainings

pytest.importorskip("trl", reason="TRL is not installed (extra `trl`; `make setup` installs it)")

HEALTHY = {"truncated": 0.1, "top_k_overlap": 0.7, "reverse_kl": 0.2, "loss": 0.2}


@pytest.fixture
def make(tiny_config: MakeConfig) -> MakeConfig:
    return short_trainings(tiny_config, tuning="full")


@pytest.fixture(scope="module")
def ending_student(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny student that ends most turns within a few tokens: one channel is large everywhere and favours the end."""
    folder = tmp_path_factory.mktemp("ending")
    save_tiny_model(folder, seed=2, hidden_size=32, vocab_size=304, tied=False)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(END)
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 4.0
        model.get_output_embeddings().weight[:, 0] = 0.0
        model.get_output_embeddings().weight[end, 0] = 2.0
    model.save_pretrained(folder)
    return str(folder)


def test_overlap_is_the_share_of_likeliest_tokens_in_common() -> None:
    student, teacher = torch.randn(7, 50), torch.randn(7, 50)
    expected = [
        len({*s.topk(16).indices.tolist()} & {*t.topk(16).indices.tolist()}) / 16
        for s, t in zip(student, teacher, strict=True)
    ]
    assert top_k_overlap(student, teacher).tolist() == pytest.approx(expected)
    assert top_k_overlap(student, student).tolist() == [1.0] * 7
    assert top_k_overlap(student, -student).tolist() == [0.0] * 7
    assert top_k_overlap(student[:, :5], teacher[:, :5]).tolist() == [1.0] * 7  # a vocabulary smaller than k


def test_reverse_kl_is_that_of_the_reference_loss() -> None:
    student, teacher = 3 * torch.randn(7, 50), 3 * torch.randn(7, 50)
    loss = distillation_loss(
        student, teacher, torch.zeros(7, dtype=torch.long), alpha=0.0, temperature=1.0, divergence="reverse_kl"
    )
    assert float(reverse_kl(student, teacher).sum()) == pytest.approx(float(loss.divergence_sum), rel=1e-5)


def test_measured_tokens_lie_at_equal_distances() -> None:
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(101, 5).tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("divergence", ["reverse_kl", "forward_kl"])
def test_a_step_logs_length_ends_overlap_and_reverse_kl_of_its_answers(
    make: MakeConfig, ending_student: str, divergence: str
) -> None:
    """Two micro-batches, whose answers are recorded and measured again one by one."""
    config = make(
        opd_steps=1, opd_divergence=divergence, student_model=ending_student, opd_batch_size=2,
        gradient_accumulation_steps=2,
    )  # fmt: skip
    renderer = load_renderer(config, "student_model")
    student: Any = load_student_for_training(config.student_model, config)
    unchanged, teacher = load_model(config.student_model, config), load_model(config.teacher_model, config)
    outputs: list[tuple[torch.Tensor, int]] = []
    generate = student.generate

    def noting(**inputs: Any) -> torch.Tensor:
        output: torch.Tensor = generate(**inputs)
        outputs.append((output, inputs["input_ids"].shape[1]))
        return output

    student.generate = noting
    on_policy.train(student, teacher, ASKED, TeacherView(renderer, renderer), config, RunDir.of(config).opd)

    [(output, width)] = outputs
    overlap, kl, lengths, ended = [], [], [], 0
    for row in output.tolist():
        prompt = [token for token in row[:width] if token != renderer.pad_token_id]
        answer = row[width:]
        stop = answer.index(renderer.end_id) + 1 if renderer.end_id in answer else len(answer)
        lengths.append(stop)
        ended += renderer.end_id in answer
        with torch.no_grad():
            tokens = torch.tensor([prompt + answer[:stop]])
            pair = [model(input_ids=tokens).logits[0, len(prompt) - 1 : -1, :304] for model in (unchanged, teacher)]
        overlap += top_k_overlap(*pair).tolist()
        kl += reverse_kl(*pair).tolist()
    [step] = metrics(config)
    assert 0 < ended < 4 or len(set(lengths)) > 1  # else the figures could not be told apart
    assert step["mean_length"] == pytest.approx(sum(lengths) / 4)
    assert step["ended"] == pytest.approx(ended / 4)
    assert step["truncated"] == pytest.approx(1 - ended / 4)
    assert step["top_k_overlap"] == pytest.approx(sum(overlap) / len(overlap), rel=1e-5)
    assert step["reverse_kl"] == pytest.approx(sum(kl) / len(kl), rel=1e-4)
    assert (step["reverse_kl"] == pytest.approx(step["loss"], rel=1e-4)) == (divergence == "reverse_kl")


@pytest.mark.parametrize("tuning", ["full", "qlora"])
def test_a_student_that_never_ends_its_turns_is_found_before_its_first_update(
    make: MakeConfig, capsys: pytest.CaptureFixture[str], tuning: str
) -> None:
    config = make(opd_steps=1, tuning=tuning)
    found = run(config)
    assert found["first_turns"]["asked"] == 16
    assert found["first_turns"]["cut"] > 8
    [warning] = found["warnings"]
    assert "opd_max_new_tokens=12" in say(warning, Text("en"))
    assert "train it with SFT first" in capsys.readouterr().out


def test_a_student_that_ends_its_turns_is_left_as_it_was(make: MakeConfig, ending_student: str) -> None:
    config = make(student_model=ending_student, tuning="lora", gradient_checkpointing=True)
    student: Any = load_student_for_training(ending_student, config)
    declared = student.get_base_model().generation_config
    turns = sample_turns(student, PROMPTS, load_renderer(config, "student_model"), Sampling(12, 1.0), 4)
    assert turns.asked == 6
    assert turns.cut <= 2
    assert 1 <= turns.mean_length < 12
    assert turns.warnings(12) == []
    assert student.training
    assert student.get_base_model().generation_config is declared
    loss = student(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss
    loss.backward()  # sampling has left no tensor without gradient
    assert EndOfTurn(16, 8, 9.0).warnings(12) == []
    assert len(EndOfTurn(16, 9, 9.0).warnings(12)) == 1


def steps(first: dict[str, float], *windows: dict[str, float]) -> list[Row]:
    """Rows of metrics.jsonl: the first step, then WINDOW steps of each kind."""
    values = [first, *(window for window in windows for _ in range(WINDOW))]
    return [{"step": number, **HEALTHY, **value} for number, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("cut_before", "first", "last", "broken"),
    [
        (0.1, {}, {}, []),
        (0.4, {}, {"truncated": 0.95}, ["opd_length"]),
        (0.4, {}, {"truncated": 0.8}, []),
        (0.9, {}, {"truncated": 1.0}, []),  # it never ended its turns: found before the training
        (None, {}, {"truncated": 1.0}, []),
        (0.1, {"truncated": 0.9}, {"truncated": 0.95}, ["opd_length"]),  # the sample counts, not the few of one step
        (0.1, {}, {"top_k_overlap": 0.3}, ["opd_overlap"]),
        (0.1, {}, {"top_k_overlap": 0.4}, []),
        (0.1, {}, {"reverse_kl": 0.9}, ["opd_kl"]),
        (0.1, {}, {"reverse_kl": 0.65}, []),  # three times as much, but less than half a nat more
        (0.1, {"reverse_kl": 3.0}, {"reverse_kl": 6.0}, []),
        (0.1, {}, {"reverse_kl": 2.0, "top_k_overlap": 0.1}, ["opd_overlap", "opd_kl"]),
    ],
)
def test_what_counts_as_running_away(
    cut_before: float | None, first: dict[str, float], last: dict[str, float], broken: list[str]
) -> None:
    assert [found.key for found in runaway_at_end(steps(first, last), cut_before)] == broken


def test_a_runaway_is_dated_to_the_step_that_shows_it_and_needs_a_whole_window() -> None:
    rows = steps({}, {"reverse_kl": 2.0}, {"reverse_kl": 2.0})
    assert runaway_at_end(rows[: WINDOW - 1], 0.1) == []
    [found] = all_runaways(rows, 0.1)
    assert (found.step, found.before) == (WINDOW, 0.2)
    late = all_runaways(steps({}, {}, {"reverse_kl": 2.0}), 0.1)
    assert [one.step for one in late] == [1 + WINDOW + 3]  # (7 * 0.2 + 3 * 2.0) / 10 is the first above 0.7
    old = [{name: value for name, value in row.items() if name != "reverse_kl"} for row in rows]
    assert all_runaways(old, 0.1) == []


def test_a_watch_stops_or_warns_once(make: MakeConfig) -> None:
    rows = steps({}, {"reverse_kl": 2.0}, {"reverse_kl": 2.0})
    stopping = Watch(make(experiment_name="stop"), 0.1)
    warning = Watch(make(experiment_name="warn", opd_runaway="warn"), 0.1)
    with pytest.raises(UserError, match=r"step 10: the student runs away: its reverse KL .* --opd_lr than 0\.01"):
        list(map(stopping.look, rows))
    assert [found.step for row in rows for found in warning.look(row)] == [WINDOW]
    resumed = Watch(warning.config, 0.1)
    resumed.remember(rows[: 2 * WINDOW])
    assert resumed.look(rows[2 * WINDOW]) == []


def test_a_student_that_stops_ending_its_turns_is_stopped_and_goes_on_only_when_told(
    make: MakeConfig, ending_student: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher hardly ever ends a turn, and the student learns that."""
    config = make(student_model=ending_student, opd_steps=14, opd_lr=3e-2, save_steps=4)
    with pytest.raises(UserError, match="of its answers are cut at opd_max_new_tokens") as caught:
        run(config)
    assert "--opd_runaway warn" in str(caught.value)
    stopped = metrics(config)
    assert WINDOW <= len(stopped) < 14

    found = run(config.model_copy(update={"opd_runaway": "warn"}))

    assert len(metrics(config)) == 14
    assert metrics(config)[: len(stopped)] == [pytest.approx(row, rel=1e-5) for row in stopped]
    assert found["first_turns"]["cut"] <= 8  # of the student before its first update, not of the resumed one
    [warning] = found["warnings"]
    assert f"in step {len(stopped)}, " in say(warning, Text("en"))
    assert "学生失控" in say(warning, Text("zh"))
    assert "opd: step" in capsys.readouterr().out


def test_the_report_shows_how_each_figure_began_and_ended() -> None:
    early, late = {"truncated": 0.2, "mean_length": 40.0}, {"truncated": 0.4, "mean_length": 60.0}
    rows = steps(early, early, late)
    found = {
        row["figure"]: row for row in opd_health(rows, {"first_turns": {"asked": 16, "cut": 4, "mean_length": 33.0}})
    }
    assert found["truncated"] == {
        "figure": "truncated", "sampled_before": 0.25, "first": pytest.approx(0.2), "last": pytest.approx(0.4),
        "low": 0.2, "high": 0.4,
    }  # fmt: skip
    assert found["mean_length"]["sampled_before"] == 33.0
    assert found["top_k_overlap"]["sampled_before"] is None
    assert "ended" not in found  # an early version did not log it
    assert opd_health([], {}) == []
