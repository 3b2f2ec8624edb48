"""Files that are whole or not there."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
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


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"second")
    assert names_in(tmp_path) == []


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / "file").symlink_to(outside)
    (tmp_path / ".file.tmp").symlink_to(outside)  # where another version wrote first
    write_atomically(tmp_path / "file", b"new")
    assert (outside.read_bytes(), (tmp_path / "file").read_bytes()) == (b"mine", b"new")
    assert not (tmp_path / "file").is_symlink()


def test_two_that_write_at_once_both_end_well(tmp_path: Path) -> None:
    texts = [bytes([65 + number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            list(pool.map(lambda text: write_atomically(tmp_path / "file", text), texts))
    assert (tmp_path / "file").read_bytes() in texts
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"data")
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "no/folder/here"])
def test_a_name_that_no_file_may_have_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=r"name another") as caught:
        write_atomically(tmp_path / name, b"data")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_new_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"data")
    (tmp_path / "plain").write_bytes(b"data")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    (tmp_path / "file").chmod(mode)
    write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"second"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="name a file, not a folder") as caught:
        write_atomically(tmp_path / "folder", b"data")
    assert "space" not in str(caught.value)
    assert names_in(tmp_path) == ["folder"]
