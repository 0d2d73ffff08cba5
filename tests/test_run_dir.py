"""The run folder: lock, writability, the link to the last model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from l2s.config import ExperimentConfig
from l2s.errors import UserError
from l2s.run_dir import RunDir, fingerprint, run_lock

ROOT = Path(__file__).resolve().parent.parent


def test_the_configuration_is_read_back_as_it_was(tmp_path: Path) -> None:
    config = ExperimentConfig(output_dir=tmp_path, alpha=0.3, run_all=True)
    run_dir = RunDir.of(config)
    run_dir.create()
    run_dir.save_config(config)
    assert run_dir.load_config() == config


def test_a_second_run_in_the_folder_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "x")
    run_dir.create()
    program = (
        "import sys; from pathlib import Path; from l2s.run_dir import RunDir\n"
        f"with RunDir(Path({str(run_dir.root)!r})).lock(): print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True, cwd=ROOT)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"another run is working in .*/x \(process {first.pid} on "), run_dir.lock():
        pass
    first.kill()
    first.wait()
    with run_dir.lock():
        pass


def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output_dir=.*cannot write there .*--output_dir"):
        RunDir(tmp_path / "file" / "x").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write there"):
        RunDir(tmp_path / "x").create()


def test_final_model_leads_to_the_model_trained_last(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "x")
    for model in (run_dir.sft_model, run_dir.kd_model):
        model.mkdir(parents=True)
        (model / "config.json").write_text(model.parent.name)
        run_dir.publish_model(model)
    assert (run_dir.root / "final_model" / "config.json").read_text() == "kd"
    assert not (run_dir.root / "final_model").readlink().is_absolute()


STARTED = ["", *(f', "started": {value}' for value in ("null", '"x"', "[]", "NaN", "1" + "0" * 400, "-1"))]


@pytest.mark.parametrize("folder", ["data", "sft", "kd", "opd", "evaluation", "manifests"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / folder).write_text("mine")
    with pytest.raises(UserError, match=f"{folder}: a file is where a run makes a folder; move it away"):
        RunDir(tmp_path / "x").create()


def test_a_umask_that_takes_the_owners_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read and write all the same, so what the system says of the new file is replaced."""
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != ".writable" and may(path, mode))
    with pytest.raises(UserError, match="set `umask 022`"):
        RunDir(tmp_path / "x").create()
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize(
    "entry",
    ["", "[", "[" * 100_000, "null", "[]", '"x"', "{}"]
    + [
        json.dumps({"pid": pid, "host": socket.gethostname(), "started": -1, "since": "\x1b[2J"})
        for pid in (0, -1, 10**30, None, "1", 1.5, True, [1])
    ]
    + [f'{{"pid": {os.getpid()}, "host": "{socket.gethostname()}"{rest}}}' for rest in STARTED],
    ids=lambda entry: entry.replace(str(os.getpid()), "PID")[:40],  # the same names in every process
)
def test_whatever_a_lock_holds_a_second_run_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.0)
    with RunDir(tmp_path).lock():
        (tmp_path / ".lock").write_text(entry)
        with pytest.raises(UserError, match="another run is working"), RunDir(tmp_path).lock():
            pass


@pytest.mark.parametrize("step_s", [-86_400, 3600])
def test_a_clock_that_is_set_while_a_run_holds_the_folder_makes_it_no_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    began, boot = psutil.Process().create_time(), psutil.boot_time()
    with RunDir(tmp_path).lock():
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: began + step_s)
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + step_s)
        with pytest.raises(UserError, match=f"process {os.getpid()} on"), RunDir(tmp_path).lock():
            pass


def test_a_name_that_is_no_text_is_part_of_a_fingerprint(tmp_path: Path) -> None:
    """File systems take any bytes; a model that was copied from elsewhere may have such a file beside it."""
    before = fingerprint(tmp_path)
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe")).write_text("x")
    assert fingerprint(tmp_path) != before
