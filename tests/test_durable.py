"""Files and folders that are replaced: completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from l2s.durable import replacing_file, replacing_folder


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
