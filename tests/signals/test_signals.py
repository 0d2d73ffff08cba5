"""Teacher signals on disk: the right rows, resumed and shared work, and detected damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from l2s.chat import load_renderer
from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.jsonl import write_jsonl
from l2s.loss.logit_transform import IDENTITY
from l2s.loss.targets import write_teacher_logits
from l2s.models.load import load_model
from l2s.run_dir import SIGNALS_SHARED, RunDir
from l2s.sequences import TrainingSequence, load_sequences
from l2s.signals import record
from l2s.signals.hidden import ModelHidden
from l2s.signals.record import pick_sample, plan_shards, record_signals, split_sample
from l2s.signals.store import (
    SignalIndex,
    SignalSource,
    check_source,
    open_training_signals,
    read_signals,
    signal_source,
)
from l2s.signals.tail import TailModel
from l2s.signals.topk import decode

MakeConfig = Callable[..., ExperimentConfig]
SHARD_ROWS = 40  # several shards from a few sequences


class Recording:
    """A teacher, its rendered answers, and the folder of its signals."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.run_dir = RunDir.of(config)
        rows = [
            {
                "id": f"row/{number}",
                "messages": [{"role": "user", "content": "Count. " * (number % 4)}],
                "response": "one " * (1 + number % 5),
                "finish_reason": "stop",
            }
            for number in range(12)
        ]
        self.run_dir.responses.parent.mkdir(parents=True)
        write_jsonl(self.run_dir.responses, rows)
        self.renderer = load_renderer(config, "student_model")
        self.sequences, _ = load_sequences(self.run_dir.responses, self.renderer, config)
        self.source: SignalSource = signal_source(config, self.renderer, self.sequences)
        self.model: PreTrainedModel = load_model(config.teacher_model, config)
        self.folder: Path = self.run_dir.teacher_signals

    def score(self) -> int:
        """Score into the folder; return the number of rows that had to be computed."""
        result = record_signals(
            ModelHidden(self.model), self.sequences, self.folder, self.source, shard_rows=SHARD_ROWS
        )
        return result.recorded_tokens

    def response_logits(self, sequence: TrainingSequence) -> torch.Tensor:
        """The model's own logits at the positions before each response token."""
        logits = self.model(input_ids=torch.tensor([sequence.input_ids])).logits[0]
        first = next(i for i, label in enumerate(sequence.labels) if label != -100)
        rows: torch.Tensor = logits[first - 1 : len(sequence.input_ids) - 1]
        return rows


@pytest.fixture
def recording(tiny_config: MakeConfig) -> Recording:
    return Recording(tiny_config())


def test_rows_are_those_that_predict_the_response_tokens(recording: Recording) -> None:
    recording.score()

    store = read_signals(recording.folder)
    head = store.shared()["head"]
    assert len(store.index.shards) > 2
    assert set(store) == {sequence.id for sequence in recording.sequences}
    for sequence in recording.sequences:
        logits = store[sequence.id]["hidden"] @ head.T
        torch.testing.assert_close(logits, recording.response_logits(sequence), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"dtype": "bfloat16"}, {"teacher_signal": "topk", "topk": 16}], ids=str)
def test_the_size_said_beforehand_is_that_of_the_tensors_on_disk(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str], fields: dict[str, Any]
) -> None:
    recording = Recording(tiny_config(**fields))
    capsys.readouterr()
    result = record_signals(
        ModelHidden(recording.model), recording.sequences, recording.folder, recording.source, shard_rows=40
    )

    said = capsys.readouterr().out.splitlines()[0].replace(",", "")
    found = re.search(
        r"(\d+) response tokens in (\d+) shards?: ([\d.]+) MiB \((\d+) bytes a token and (\d+) that", said
    )
    assert found is not None, said
    tokens, shards, mib, a_token, shared = (float(number) for number in found.groups())
    sizes = {file.name: tensor_bytes(file) for file in recording.folder.glob("*.safetensors")}
    assert shared == sizes.pop(SIGNALS_SHARED)
    assert shards == len(sizes)
    assert tokens * a_token == sum(sizes.values())
    assert result.bytes == tokens * a_token + shared
    assert mib == pytest.approx(result.bytes / 2**20, abs=0.05)


def tensor_bytes(file: Path) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in load_file(file).values())


def test_recording_resumes_after_a_kill(recording: Recording) -> None:
    total = recording.score()
    (recording.folder / "index.json").unlink()
    (recording.folder / "shard-00001.json").unlink()  # as if killed between a shard and its entry
    lost = sum(item.num_response_tokens for item in plan_shards(recording.sequences, SHARD_ROWS)[1])

    assert recording.score() == lost < total
    assert len(read_signals(recording.folder)) == len(recording.sequences)


def test_shards_of_other_answers_are_recorded_again(recording: Recording) -> None:
    total = recording.score()
    recording.source = SignalSource(**(vars(recording.source) | {"sequences_hash": "other"}))

    assert recording.score() == total


def test_rank_0_writes_the_index_even_if_the_files_of_the_others_reach_it_late(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks of one torchrun, one after the other; in between, the second rank's files are hidden."""
    recording.score()  # waits for what all shards share
    whole = SignalIndex.load(recording.folder)
    for file in [recording.folder / "index.json", *recording.folder.glob("shard-*")]:
        file.unlink()
    handed: list[Any] = []

    def record_as(rank: int) -> int:
        monkeypatch.setenv("RANK", str(rank))
        return recording.score()

    def gather(value: Any) -> list[Any]:
        handed.insert(0, value)
        return handed

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(record, "gather_from_all", gather)
    second = record_as(1)
    with pytest.raises(UserError, match="no finished teacher signals"):
        read_signals(recording.folder)
    late = recording.folder.with_name("late")
    late.mkdir()
    moved = [file.rename(late / file.name) for file in recording.folder.glob("shard-*")]
    first = record_as(0)
    for file in moved:
        file.rename(recording.folder / file.name)

    assert min(first, second) > 0
    assert first + second == sum(item.num_response_tokens for item in recording.sequences)
    assert read_signals(recording.folder).index == whole


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def cut_the_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_the_end, Path.unlink])
@pytest.mark.parametrize("name", ["shard-00001.safetensors", SIGNALS_SHARED])
def test_a_damaged_file_is_found_and_named_and_recording_repairs_it(
    recording: Recording, name: str, damage: Callable[[Path], None]
) -> None:
    recording.score()
    before = SignalIndex.load(recording.folder)
    lost = sum(item.num_response_tokens for item in plan_shards(recording.sequences, SHARD_ROWS)[1])
    damage(recording.folder / name)

    with pytest.raises(UserError, match=rf"{name}: .* (damaged|missing).*the same command again"):
        read_signals(recording.folder)
    assert recording.score() == (0 if name == SIGNALS_SHARED else lost)
    assert read_signals(recording.folder).index == before


@pytest.mark.parametrize("name", ["index.json", "shard-00001.json"])
def test_a_damaged_table_of_contents_is_mended_too(recording: Recording, name: str) -> None:
    recording.score()
    cut_the_end(recording.folder / name)
    if name == "index.json":
        with pytest.raises(UserError, match=rf"{name}: .* damaged"):
            read_signals(recording.folder)

    recording.score()

    assert len(read_signals(recording.folder)) == len(recording.sequences)


def test_signals_of_other_answers_are_refused(recording: Recording, tiny_config: MakeConfig) -> None:
    recording.score()
    fewer = recording.sequences[1:]

    with pytest.raises(UserError, match="sequences_hash"):
        open_training_signals(tiny_config(), recording.run_dir, recording.renderer, fewer)


def test_signals_rendered_another_way_are_refused(recording: Recording) -> None:
    other = SignalSource(**(vars(recording.source) | {"render_hash": "another template"}))

    with pytest.raises(UserError, match="render_hash"):
        check_source(recording.folder, other, recording.source)


def test_topk_recorded_at_another_temperature_is_refused(tiny_config: MakeConfig) -> None:
    """Hidden states serve every temperature; log-normalisers and the tail's shape belong to one."""
    recording = Recording(tiny_config(teacher_signal="topk", topk=16, temperature=2.0))
    recording.score()

    def reopen(**fields: Any) -> None:
        config = tiny_config(**({"teacher_signal": "topk", "topk": 16} | fields))
        open_training_signals(config, recording.run_dir, recording.renderer, recording.sequences)

    reopen(temperature=2.0)
    with pytest.raises(UserError, match=r"temperature=2\.0, this run has 3\.0; run the score stage"):
        reopen(temperature=3.0)
    with pytest.raises(UserError, match="topk=16, this run has 8"):
        reopen(temperature=2.0, topk=8)


def test_hidden_states_serve_another_temperature(recording: Recording, tiny_config: MakeConfig) -> None:
    recording.score()

    other = tiny_config(temperature=3.0)
    assert open_training_signals(other, recording.run_dir, recording.renderer, recording.sequences)


def test_topk_keeps_logits_and_normalizers(tiny_config: MakeConfig) -> None:
    recording = Recording(tiny_config(teacher_signal="topk", topk=16, temperature=2.0))
    recording.score()

    store = read_signals(recording.folder)
    factors = TailModel.of(store.shared()).factors()
    for sequence in recording.sequences:
        teacher = decode(store[sequence.id], 16, factors)
        expected = recording.response_logits(sequence)
        top = expected.topk(16, dim=-1)
        assert torch.equal(teacher.ids, top.indices)
        kept = (teacher.logits / 2).exp() / teacher.log_normalizer[:, None].exp()
        torch.testing.assert_close(kept, (expected / 2).softmax(-1).gather(1, top.indices), rtol=5e-3, atol=1e-5)


def test_topk_read_back_follows_the_teacher_outside_the_top_k_too(tiny_config: MakeConfig) -> None:
    recording = Recording(tiny_config(teacher_signal="topk", topk=16, temperature=2.0))
    recording.score()

    store = read_signals(recording.folder)
    factors = TailModel.of(store.shared()).factors()
    divergences = []
    for sequence in recording.sequences:
        log_q = (recording.response_logits(sequence) / 2).log_softmax(-1)
        read = torch.empty_like(log_q)
        write_teacher_logits(read, decode(store[sequence.id], 16, factors), slice(None), read, 2.0, IDENTITY)
        divergences.append((log_q.exp() * (log_q - (read / 2).log_softmax(-1))).sum(-1))
        assert float(log_q.exp().scatter(1, log_q.topk(16, dim=-1).indices, 0.0).sum(-1).mean()) > 0.3
    assert torch.cat(divergences).mean() < 0.02


def test_exact_logits_are_kept_of_sequences_that_were_not_fitted(tiny_config: MakeConfig) -> None:
    recording = Recording(tiny_config(teacher_signal="topk", topk=16, temperature=2.0))
    recording.score()

    store = read_signals(recording.folder)
    fit, check = split_sample(pick_sample(recording.sequences))
    assert store.index.sample_ids == [sequence.id for sequence in check]
    assert not {sequence.id for sequence in fit} & set(store.index.sample_ids)
    logits = torch.cat([recording.response_logits(sequence) for sequence in check])
    expected = (logits - logits.amax(-1, keepdim=True))[store.shared()["sample_rows"]]
    torch.testing.assert_close(store.shared()["sample_logits"].float(), expected, rtol=2e-3, atol=2e-3)


def test_rows_encoded_with_another_tail_are_recorded_again(tiny_config: MakeConfig) -> None:
    recording = Recording(tiny_config(teacher_signal="topk", topk=16, temperature=2.0))
    total = recording.score()
    assert recording.score() == 0
    shared = load_file(recording.folder / SIGNALS_SHARED)
    save_file(shared | {"tail_mean": shared["tail_mean"] + 1}, recording.folder / SIGNALS_SHARED)

    assert recording.score() in (0, total)  # 0: the tail is the same to the bit, so the rows are too
    read_signals(recording.folder)
    (recording.folder / "shared.json").unlink()
    recording.sequences = recording.sequences[1:]
    assert recording.score() == sum(item.num_response_tokens for item in recording.sequences)


def test_signals_of_an_older_format_are_recorded_again_and_refused_until_then(recording: Recording) -> None:
    total = recording.score()
    for file in [*recording.folder.glob("shard-*.json"), recording.folder / "shared.json"]:
        entry = json.loads(file.read_text())
        entry["source"] = entry.pop("origin", "")[:64]  # as in the first format
        file.write_text(json.dumps(entry))
    index = json.loads((recording.folder / "index.json").read_text())
    (recording.folder / "index.json").write_text(
        json.dumps({k: v for k, v in index.items() if k not in ("format", "seal")})
    )

    with pytest.raises(UserError, match="format 1, this version of l2s reads 2; run the score stage again"):
        read_signals(recording.folder)
    assert recording.score() == total
    read_signals(recording.folder)


def test_the_index_survives_a_round_trip(recording: Recording) -> None:
    recording.score()

    index = SignalIndex.load(recording.folder)
    index.save(recording.folder)

    assert SignalIndex.load(recording.folder) == index
