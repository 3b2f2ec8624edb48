"""The one door for files from outside: what it takes, and that it never waits."""

from __future__ import annotations

import ast
import errno
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from oracles import outside
from oracles.outside import OutsideError, open_outside, read_outside

pytestmark = pytest.mark.timeout(20)
"""A door that waits for a FIFO would hang."""


def refusal(path: str | Path, most: int = 100) -> str:
    with pytest.raises(OutsideError) as caught:
        read_outside(path, most)
    return str(caught.value.strerror)


def test_a_file_is_read_with_the_hash_of_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("Å".encode())
    file = read_outside(tmp_path / "a", 2)
    (tmp_path / "a").write_bytes(b"other")
    assert (file.path, file.data, file.text) == (tmp_path / "a", b"\xc3\x85", "Å")
    assert file.sha256 == hashlib.sha256(b"\xc3\x85").hexdigest()


def test_an_empty_file_and_a_link_to_a_file_are_files(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert read_outside(tmp_path / "b", 0).data == b""


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    assert refusal(tmp_path / "a") == "It is a FIFO, not a regular file"
    (tmp_path / "b").symlink_to("a")
    assert "FIFO" in refusal(tmp_path / "b")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty", "/dev/random"])
def test_a_device_is_refused(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"there is no {device}")
    assert refusal(device) == "It is a device, not a regular file"


def test_a_socket_is_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "a", stat.S_IFSOCK | 0o600)
    assert refusal(tmp_path / "a") == "It is a socket, not a regular file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == os.strerror(errno.EISDIR)


def test_names_that_no_file_has(tmp_path: Path) -> None:
    assert "null" in refusal(f"{tmp_path}/a\0b")
    for name, said in (("gone", "No such file"), ("a" * 300, "too long")):
        with pytest.raises(OSError, match=said):
            read_outside(tmp_path / name, 9)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        read_outside(tmp_path / "circle", 9)


def test_the_cap_is_the_largest_size_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    assert len(read_outside(tmp_path / "a", 100).data) == 100
    assert refusal(tmp_path / "a", 99) == "It has 100 bytes, and at most 99 are read"


def test_a_sparse_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    assert "1,099,511,627,776" in refusal(tmp_path / "a", outside.MODEL_BYTES)


@pytest.mark.parametrize("taken", ["fifo", "device"])
def test_what_takes_the_name_between_the_look_and_the_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    path, real = tmp_path / "a", os.open
    path.write_bytes(b"good")

    def swapped(*arguments: Any) -> int:
        path.unlink()
        os.mkfifo(path) if taken == "fifo" else path.symlink_to("/dev/zero")
        return real(*arguments)

    monkeypatch.setattr(os, "open", swapped)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert "not a regular file" in refusal(path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_replaced_after_it_was_opened_is_still_the_first(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"good")
    (tmp_path / "b").write_bytes(b"evil")
    with open_outside(tmp_path / "a", 9) as file:
        os.replace(tmp_path / "b", tmp_path / "a")
        assert file.read() == b"good"


class Written(io.BytesIO):
    """Stands for an opened file that another process changes while it is read."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content, self._real = path, content, path.open("rb")

    def fileno(self) -> int:
        return self._real.fileno()

    def read(self, size: int | None = -1) -> bytes:
        self._path.write_bytes(self._content)
        return self._real.read(size)

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize(("content", "read"), [(b"a longer one", b"a lo"), (b"cut", None), (b"evil", None)])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, read: bytes | None
) -> None:
    path = tmp_path / "a"

    def opened(*_: Any) -> BinaryIO:
        path.write_bytes(b"good")
        os.utime(path, (1, 1))
        return Written(path, content)

    monkeypatch.setattr(outside, "open_outside", opened)
    assert "changed while it was read" in refusal(path)
    if read is not None:  # others may add to it, but no more is read than was there
        assert read_outside(path, 4, growing=True).data == read


def test_a_file_of_the_kernel_that_has_no_size_is_empty() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc")
    assert read_outside("/proc/self/status", 9).data == b""


OWN = {
    "oracles/outside.py": "the door",
    "simkit/data/digits.py": "a file of scikit-learn",
    "studies/cli/bench_memory.py": "a file of the kernel",
    "studies/cli/demo_service.py": "what the service that it started has written for it",
    "studies/cli/streams.py": "os.devnull, which is written",
    "studies/render/destinations.py": "a page that is to be replaced, and is a regular file",
    "studies/scan/user_code.py": "code that the caller imported",
    "studies/service/app.py": "a file of the package",
    "studies/service/console/pages.py": "a file of the package",
    "studies/study/result_file.py": "result lines that are added, after a look through the door",
    "studies/study/schema.py": "an example of the package",
    "studies/watch/config.py": "result lines that are added, after a look through the door",
}
"""Modules that open files by themselves, and which."""


def _opens(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "open"
    if not isinstance(call.func, ast.Attribute):
        return False
    path = call.func.attr == "open" and bool(call.args) and isinstance(call.args[0], ast.Constant)
    return path or call.func.attr in ("read_bytes", "read_text") or ast.unparse(call.func) == "gzip.open"


def test_there_is_no_other_door() -> None:
    root = Path(outside.__file__).resolve().parents[1]
    modules = [file for floor in ("oracles", "simkit", "studies") for file in (root / floor).rglob("*.py")]
    calls = {file: [c for c in ast.walk(ast.parse(file.read_text())) if isinstance(c, ast.Call)] for file in modules}
    assert {str(file.relative_to(root)) for file in modules if any(map(_opens, calls[file]))} == set(OWN)
