"""Files and folders that are replaced: completely or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from l2s.durable import WriteError, make_folder, open_in_place, remove_partials, replacing_file, replacing_folder
from l2s.runner.disk_space import explain_run


def test_a_file_stays_as_it_is_where_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fail() -> None:
        with replacing_file(file) as partial:
            partial.write_text("ne")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_or_link_is_replaced(tmp_path: Path) -> None:
    for name in ("file", "link"):
        (tmp_path / name).write_text("old")
    with replacing_file(tmp_path / "file") as partial:
        partial.write_text("new")
        assert (tmp_path / "file").read_text() == "old"
    with replacing_file(tmp_path / "link") as partial:
        partial.symlink_to("file")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_a_folder_stays_as_it_is_where_writing_fails_and_the_next_try_starts_empty(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()

    def fill(name: str, *, fail: bool) -> None:
        with replacing_folder(folder) as partial:
            partial.mkdir()
            (partial / name).touch()
            if fail:
                raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill("half", fail=True)
    assert [path.name for path in folder.iterdir()] == ["old"]
    fill("new", fail=False)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_where_a_file_belongs_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "results.json" / "mine").mkdir(parents=True)
    with pytest.raises(WriteError) as caught, replacing_file(tmp_path / "results.json"):
        raise AssertionError("nothing may be written")
    said = explain_run(caught.value)
    assert said.startswith(f"{tmp_path / 'results.json'}: a folder is where a run makes a file; move it away")
    assert (tmp_path / "results.json" / "mine").is_dir()


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "logs").write_text("mine")
    with pytest.raises(WriteError) as caught:
        make_folder(tmp_path / "logs" / below)
    assert explain_run(caught.value).startswith(f"{tmp_path / 'logs'}: a file is where a run makes a folder")


def test_a_link_to_nothing_where_a_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").symlink_to("nowhere")
    with pytest.raises(WriteError, match="logs"):
        make_folder(tmp_path / "logs")


def test_what_only_looks_like_a_leftover_is_no_error(tmp_path: Path) -> None:
    for name in (".x.\u00b2.partial", ".x.y.partial", ".partial", ".x.99999999999999999999.partial"):
        (tmp_path / name).write_text("")
    remove_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".x.\u00b2.partial", ".x.y.partial", ".partial"}


def test_a_log_that_this_user_may_not_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that he may not even read. Root may do both, so the system's answer is replaced."""

    def refuse(path: Path, *arguments: object, **keywords: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(WriteError) as caught:
        open_in_place(tmp_path / "log.jsonl", "ab")
    said = explain_run(caught.value)
    assert said.startswith(f"cannot write {tmp_path / 'log.jsonl'}: Permission denied")
    assert "make it writable" in said


def test_a_folder_in_place_of_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught:
        open_in_place(tmp_path, "ab")
    assert "a folder is where a run makes a file" in explain_run(caught.value)
