"""Names, links and rows that would lead out of the folder of an experiment are refused; nothing outside changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from l2s.config import ExperimentConfig, resolve_config
from l2s.durable import WriteError, replacing_file, replacing_folder
from l2s.errors import UserError
from l2s.jsonl import append_jsonl, cut_unfinished_line, load_jsonl, write_jsonl
from l2s.run_dir import RunDir
from l2s.run_dir.run_lock import hold
from l2s.runner.cluster.agent import Agent
from l2s.runner.cluster.transfer import Inbox, Part, Storage
from l2s.runner.disk_space import explain_run
from l2s.runner.executors import run_stage
from l2s.runner.experiment import _print_result, _publish, dry_run, rebuild_report, run_experiment
from l2s.runner.pipeline import STAGES
from l2s.tasks import prepare
from l2s.visible import visible
from support.synthetic_run import make_run

Make = Callable[..., ExperimentConfig]
NAMES = [
    "..",
    ".",
    "",
    "../x",
    "a/b",
    "/tmp/x",
    "a\\b",
    "a\0b",
    "a\n",
    ".hidden",
    "-x",
    "~",
    "a b",
    "x" * 101,
    "ä",
    "$HOME",
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "outside"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("log.jsonl", "manifest.json", "checkpoints/weights"):
        (folder / name).write_text("precious\n")
    return folder


def state(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_file", [False, True])
def test_a_name_is_one_folder_by_flag_and_by_file(tmp_path: Path, name: str, by_file: bool) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("experiment_name: " + repr(name).replace("\\", "\\\\") if by_file else "seed: 1\n")
    with pytest.raises(UserError, match="experiment_name"):
        resolve_config({} if by_file else {"experiment_name": name}, file=file)


@pytest.mark.parametrize("seeds", ["../1", "1,/tmp", "1,2/..", "-1", "1;2", "1e3", ["1", "../2"]])
def test_a_seed_is_a_number_before_it_names_a_folder(seeds: Any) -> None:
    with pytest.raises(UserError, match="seeds"):
        resolve_config({"seeds": seeds})


LINKS = [
    "sft", "kd", "data", "evaluation", "manifests", ".lock", "log.jsonl", "config.yaml", ".writable", "sft/checkpoints",
    "sft/manifest.json", "final_model", "kd/.teacher_signals.partial", "evaluation/predictions", "logs/new/deeper",
]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("target", ["folder", "file", "missing", "loop"])
def test_a_link_out_of_the_folder_is_refused_before_anything_is_touched(
    tiny_config: Make, outside: Path, link: str, target: str
) -> None:
    config = tiny_config(run_prepare=True, domains="math", math_source="one_step")
    path = RunDir.of(config).root / link
    path.parent.mkdir(parents=True)
    goal = {"folder": outside, "file": outside / "log.jsonl", "missing": outside / "new", "loop": path}[target]
    path.symlink_to(goal)
    before = state(outside)
    with pytest.raises(UserError, match=r"a link that leads out of the experiment's folder.*remove the link") as caught:
        run_experiment(config, force=True)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(outside) == before


def test_the_experiment_itself_may_be_a_link_and_links_inside_are_fine(tiny_config: Make, tmp_path: Path) -> None:
    run_dir = RunDir.of(tiny_config())
    (tmp_path / "large disk").mkdir()
    run_dir.root.parent.mkdir()
    run_dir.root.symlink_to(tmp_path / "large disk")
    run_dir.create()
    (run_dir.root / "final_model").symlink_to("sft/final_model")  # not there yet
    run_dir.create()


def test_a_report_of_a_folder_with_such_a_link_is_refused(tmp_path: Path, outside: Path) -> None:
    _, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("teacher",))
    run_dir.plots.symlink_to(outside)
    before = state(outside)
    with pytest.raises(UserError, match="leads out"):
        rebuild_report(run_dir.root)
    assert state(outside) == before


@pytest.mark.parametrize("domain", ["../../x", "/tmp/x", "a/b", "", 7, "x\0", "a b", "-x"])
def test_a_domain_that_names_another_folder_is_refused_by_the_report(tmp_path: Path, domain: Any) -> None:
    _, run_dir = make_run(tmp_path, sizes={"math": 4}, models=("teacher",))
    (run_dir.plots / "scores_..").mkdir(parents=True)  # so that the path above would exist
    write_jsonl(run_dir.eval_data, [row | {"domain": domain} for row in load_jsonl(run_dir.eval_data)])
    with pytest.raises(UserError, match="is no name of a domain"):
        rebuild_report(run_dir.root)


def test_published_files_replace_links_and_do_not_follow_them(tiny_config: Make, outside: Path) -> None:
    config = tiny_config(domains="math", math_source="one_step", math_train_size=2, math_eval_size=2)
    config.processed_dir.mkdir()
    for name in ("train_dataset.jsonl", f".eval_dataset.jsonl.{os.getpid()}.partial"):
        (config.processed_dir / name).symlink_to(outside / "log.jsonl")
    run_dir = RunDir.of(config)
    run_dir.create()
    prepare.run(config, run_dir)
    assert (outside / "log.jsonl").read_text() == "precious\n"
    assert not (config.processed_dir / "train_dataset.jsonl").is_symlink()


def test_folders_and_files_replace_links_and_do_not_follow_them(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "model").symlink_to(outside)
    (tmp_path / ".model.partial").symlink_to(outside)
    with replacing_folder(tmp_path / "model") as partial:
        partial.mkdir()
        (partial / "weights").write_text("new")
    (tmp_path / "file").symlink_to(outside / "log.jsonl")
    with replacing_file(tmp_path / "file") as partial:
        partial.write_text("new")
    assert set(state(outside).values()) == {"precious\n"}
    assert (tmp_path / "model" / "weights").read_text() == "new"
    assert not (tmp_path / "model").is_symlink()


def test_the_last_student_is_published_as_a_link_and_no_folder_is_replaced(tiny_config: Make, outside: Path) -> None:
    run_dir = RunDir.of(tiny_config())
    run_dir.sft_model.mkdir(parents=True)
    (run_dir.root / "final_model").symlink_to(outside)
    _publish(run_dir)
    assert (run_dir.root / "final_model").resolve() == run_dir.sft_model
    (run_dir.root / "final_model").unlink()
    (run_dir.root / "final_model").mkdir()
    with pytest.raises(UserError, match="keeps a link to the last student there"):
        run_dir.create()


@pytest.mark.parametrize("name", ["../log.jsonl", "/etc/x", "a/../../x", "", "a\0b"])
def test_a_file_from_a_node_stays_in_the_folder(tmp_path: Path, outside: Path, name: str) -> None:
    root = tmp_path / "run"
    root.mkdir()
    with pytest.raises(ValueError, match="is not in the folder of the run"):
        Inbox(root, None).put(Part(name, 0, b"x", hashlib.sha256(b"x").hexdigest()))
    assert set(state(outside).values()) == {"precious\n"}


def test_a_node_names_no_other_file_of_the_storage(tmp_path: Path, outside: Path) -> None:
    sha256 = hashlib.sha256(b"precious\n").hexdigest()
    inbox = Inbox(tmp_path, Storage(str(tmp_path / "storage"), "x"))
    with pytest.raises(ValueError, match="its place in the storage is another"):
        inbox.put(Part("copy", 0, b"", sha256, key=str(outside / "log.jsonl")))
    assert not (tmp_path / "copy").exists()


def test_a_node_removes_only_copies_of_experiments(tmp_path: Path) -> None:
    """The folder that --node_dir names may hold other projects, with lock files of their own."""
    for name in ("project/poetry.lock", "project/poetry/code.py", "0123456789ab/old.lock", "0123456789ab/old/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    Agent("here", "ba9876543210", str(tmp_path), "new").open(None, None)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"project/poetry.lock", "project/poetry/code.py", "ba9876543210/new.lock"}


def test_a_node_does_not_use_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"l2s-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(UserError, match="can be written to by another user"):
        Agent("here", "ba9876543210", None, "new").open(None, None)
    folder.rmdir()
    Agent("here", "ba9876543210", None, "new").open(None, None)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["[/red]", "[bold]x", "[link=x]y[/link]", "a\x1b[2Jb", "\u202ea"])
def test_a_folder_is_no_markup_and_no_command_on_the_console(
    tiny_config: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    config = tiny_config(run_prepare=True, output_dir=tmp_path / name, domains="math", math_source="one_step")
    run_dir = RunDir.of(config)
    dry_run(config)
    assert visible(name) in capsys.readouterr().out
    run_dir.sft.mkdir(parents=True)
    run_dir.responses.touch()
    _print_result(config, run_dir, [])
    assert visible(name) in capsys.readouterr().out


@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_comes_while_a_run_is_at_work_is_refused_by_the_next_stage(
    tiny_config: Make, outside: Path, link: str
) -> None:
    config = tiny_config(run_prepare=True, domains="math", math_source="one_step")
    run_dir = RunDir.of(config)
    run_dir.create()
    path = run_dir.root / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    before = state(outside)
    with pytest.raises(UserError, match="a link that leads out"):
        run_stage(STAGES["prepare"], config, run_dir, "run")
    assert state(outside) == before
    assert not run_dir.manifest("prepare").exists()


def _append(path: Path) -> None:
    append_jsonl(path / "log.jsonl", [{"step": 1}])


def _write(path: Path) -> None:
    write_jsonl(path / "manifest.json", [{"step": 1}])


def _write_folder(path: Path) -> None:
    with replacing_folder(path / "checkpoints") as partial:
        partial.mkdir()


@pytest.mark.parametrize("write", [_append, _write, _write_folder])
@pytest.mark.parametrize("depth", ["sft", "sft/deeper"])
def test_a_link_that_comes_while_a_stage_is_at_work_is_not_written_through(
    tiny_config: Make, outside: Path, write: Callable[[Path], None], depth: str
) -> None:
    run_dir = RunDir.of(tiny_config())
    run_dir.create()
    (run_dir.root / "sft").symlink_to(outside)
    (outside / "deeper").mkdir()
    before = state(outside)
    with pytest.raises(WriteError) as caught:
        write(run_dir.root / depth)
    assert state(outside) == before
    assert "leads out of the experiment's folder" in explain_run(caught.value)


def test_a_file_that_becomes_a_link_is_not_appended_to(tmp_path: Path, outside: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.symlink_to(outside / "log.jsonl")
    for change in (lambda: append_jsonl(log, [{"step": 1}]), lambda: hold(log).__enter__()):
        with pytest.raises((WriteError, UserError), match=r"log\.jsonl"):
            change()
    assert (outside / "log.jsonl").read_text() == "precious\n"


def test_a_hard_link_becomes_a_file_of_its_own_before_it_is_changed(tmp_path: Path) -> None:
    """As in a copy that `cp -al` made of the folder: its files are other names of ours."""
    log, backup = tmp_path / "log.jsonl", tmp_path / "backup"
    log.write_text('{"step": 1}\n{"st')
    os.link(log, backup)
    cut_unfinished_line(log)
    backup.rename(tmp_path / "first")
    os.link(log, backup)
    append_jsonl(log, [{"step": 2}])
    assert [row["step"] for row in load_jsonl(log)] == [1, 2]
    assert backup.read_text() == '{"step": 1}\n'
    assert (tmp_path / "first").read_text() == '{"step": 1}\n{"st'


def test_a_lock_that_is_another_file_too_is_taken_and_not_written(tmp_path: Path, outside: Path) -> None:
    os.link(outside / "log.jsonl", tmp_path / ".lock")
    with hold(tmp_path / ".lock"), pytest.raises(UserError, match="another run is working"), hold(tmp_path / ".lock"):
        pass
    assert (outside / "log.jsonl").read_text() == "precious\n"
