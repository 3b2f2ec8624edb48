"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.errors import StorageError
from simkit.files import make_folder, write_atomically


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        write_atomically(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "file", b"first")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_folder_below_a_file_cannot_be(tmp_path: Path) -> None:
    make_folder(tmp_path / "new" / "below")
    make_folder(tmp_path / "new" / "below")
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="name another one"):
            make_folder(folder)
