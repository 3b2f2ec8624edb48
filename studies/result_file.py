"""A file of result lines: read whole, added to by many processes, sound after a kill."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from db.errors import StorageError
from simkit.errors import DataError, complaint
from simkit.files import make_folder
from studies.result_line import ResultLine


def read_lines(path: Path) -> list[ResultLine]:
    """The lines of `path` in order, none where there is no file; a last one that a kill left unfinished is no line.

    Raises DataError naming the line that is not one of `simkit study scan`, StorageError if the file cannot be read.
    """
    return [_line(f"{path}:{number}", text) for number, text in enumerate(_whole(path), start=1)]


def find_line(path: Path, unit: tuple[str, str, int, str, str, str]) -> ResultLine | None:
    """The line of this unit, see `ResultLine.unit`; others are not read. Raises as `read_lines`."""
    hashes = [text.encode() for text in (unit[3], unit[5])]
    for number, text in enumerate(_whole(path), start=1):
        if all(digest in text for digest in hashes):
            line = _line(f"{path}:{number}", text)
            if line.unit == unit:
                return line
    return None


def append_line(path: Path, line: ResultLine) -> bool:
    """Add `line` and wait for the disk; False, and nothing done, if its unit is there. A torn last line goes.

    Raises what `read_lines` raises, StorageError if nothing can be written.
    """
    make_folder(path.parent)
    try:
        with FileLock(path.with_name(f"{path.name}.lock")):
            if any(line.unit == known.unit for known in read_lines(path)):
                return False
            _write(path, f"{line.model_dump_json()}\n".encode())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); make room, or name another file") from error
    return True


def _whole(path: Path) -> list[bytes]:
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); name another file") from error
    return data[: data.rfind(b"\n") + 1].splitlines()


def _line(where: str, text: bytes) -> ResultLine:
    try:
        return ResultLine.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"{where}: no line of `simkit study scan`: {complaint(error)}; name another file") from None


def _write(path: Path, text: bytes) -> None:
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
