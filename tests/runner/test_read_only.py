"""Folders that cannot be written to: one line names the folder and the remedy before any model is loaded."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from l2s.cli import main
from l2s.config import ExperimentConfig
from l2s.durable import as_write_error
from l2s.errors import UserError
from l2s.jsonl import write_jsonl
from l2s.models import demo, load
from l2s.presets import DEMO_BASE, DEMO_TEACHER
from l2s.run_dir import Manifest, RunDir
from l2s.runner.disk_space import explain_run
from l2s.runner.executors import USER_ERROR, status_of_stage
from l2s.runner.experiment import run_experiment
from l2s.sealed import write_sealed
from l2s.signals.store import SignalIndex
from support.read_only import read_only

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def config(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    """A whole experiment that loads no weights."""

    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(load, "_from_pretrained", refuse)
    return tiny_config(run_all=True, domains="math", math_source="one_step", math_train_size=2, math_eval_size=2)


def refused(config: ExperimentConfig, folder: Path) -> str:
    """What a run says while `folder` is read-only."""
    with read_only(folder), pytest.raises(UserError) as caught:
        run_experiment(config)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_the_folder_of_all_experiments(config: ExperimentConfig) -> None:
    assert "choose another folder with --output_dir" in refused(config, config.output_dir)


def test_the_folder_above_it(config: ExperimentConfig) -> None:
    config = config.model_copy(update={"output_dir": config.output_dir / "disk" / "outputs"})
    assert "choose another folder with --output_dir" in refused(config, config.output_dir.parent)


def test_the_folder_of_this_experiment(config: ExperimentConfig) -> None:
    assert "choose another folder with --output_dir" in refused(config, RunDir.of(config).root)


@pytest.mark.parametrize("part", ["sft", "kd", "evaluation", "data", "manifests"])
def test_a_folder_in_it(config: ExperimentConfig, part: str) -> None:
    assert "make it writable, or choose another --output_dir" in refused(config, RunDir.of(config).root / part)


def test_the_folder_of_the_datasets(config: ExperimentConfig) -> None:
    assert "choose another folder with --processed_dir" in refused(config, config.processed_dir)


def test_the_folder_of_the_demo_models(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L2S_CACHE", str(tmp_path / "cache"))
    config = config.model_copy(update={"teacher_model": demo.locate(DEMO_TEACHER)})
    assert "set the environment variable L2S_CACHE to a writable folder" in refused(config, tmp_path / "cache")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: ExperimentConfig) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("L2S_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", unknown)
    assert not demo.is_demo(Path(config.teacher_model))
    with pytest.raises(UserError, match="set the environment variable L2S_CACHE"):
        demo.build_if_missing(Path(demo.locate(DEMO_BASE)))


def test_no_folder_for_temporary_files(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", missing)
    with pytest.raises(UserError, match=r"TMPDIR: No usable temporary directory .*set it to a folder"):
        run_experiment(config)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_becomes_read_only_while_a_stage_works(tmp_path: Path, number: int) -> None:
    """Root gets EROFS from the kernel; other users EACCES."""
    with read_only(tmp_path / "kd") as folder:
        found = as_write_error(OSError(number, "refused", str(folder / "new" / "file")), tmp_path)
    assert found is not None
    assert "make it writable, and the same command resumes here" in explain_run(found)


def test_a_file_that_may_not_be_read_is_another_error(tmp_path: Path) -> None:
    assert (
        as_write_error(PermissionError(errno.EACCES, "refused", str(tmp_path / "model.safetensors")), tmp_path) is None
    )
    assert as_write_error(PermissionError(errno.EACCES, "refused"), tmp_path) is None


@pytest.mark.parametrize("name", ["outputs/x/sft/manifest.json", "a\nb", None])
def test_what_may_not_be_read_is_named_in_one_line_by_commands_and_stages(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    """Root may read everything, so what the system says to others is raised."""

    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    config = tiny_config(run_prepare=True, domains="math", math_source="one_step")
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    monkeypatch.setattr("l2s.runner.experiment.rebuild_report", refuse)
    assert main(["report", "x"]) == USER_ERROR
    monkeypatch.setattr("l2s.runner.executors.run_stage", refuse)
    assert status_of_stage(run_dir, "prepare", "run") == USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    shown = "a file" if name is None else repr(name) if "\n" in name else name
    said = f"{shown}: Permission denied; give this user the right to it, and repeat the command"
    assert lines == [f"l2s report: {said}", f"l2s prepare: {said}"]


def test_a_record_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy for damage is to remove the record, and with it the stage's work."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for name in ("manifest.json", "index.json"):
        write_sealed(tmp_path / name, {"stage": "kd"})
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (lambda: Manifest.load(tmp_path / "manifest.json"), lambda: SignalIndex.load(tmp_path)):
        with pytest.raises(PermissionError):
            read()
    assert (tmp_path / "index.json").exists()


def test_data_may_be_read_only(tiny_config: Make, tmp_path: Path) -> None:
    """Only what a run writes must be writable."""
    from l2s.tasks import prepare

    rows = [{"id": f"r{n}", "prompt": f"word {n}", "reference": "x"} for n in range(4)]
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "rows.jsonl", rows)
    with read_only(tmp_path / "data") as data:
        config = tiny_config(domains="own", train_file=data / "rows.jsonl", eval_file=data / "rows.jsonl")
        RunDir.of(config).create()
        prepare.run(config, RunDir.of(config))
