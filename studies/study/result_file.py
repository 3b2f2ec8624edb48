"""Files of result lines, to which several processes may append, and which stay valid after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from db.errors import StorageError
from oracles.outside import LINE_BYTES, RESULTS_BYTES, open_outside, read_outside
from simkit.errors import DataError, complaint
from simkit.files import make_folder
from studies.study.result_line import ResultLine


def read_lines(path: Path) -> list[ResultLine]:
    """The lines of `path` in order, empty where there is no file; an unfinished last line is ignored.

    Raises DataError, which names the line that is no result line, and StorageError if the file cannot be read.
    """
    return [_line(f"{path}:{number}", text) for number, text in enumerate(_whole(path), start=1)]


def length(path: Path) -> int:
    """The length of the complete lines in `path` in bytes; 0 where there is no file."""
    return len(_from(path, 0)[1])


def find_line(path: Path, unit: tuple[str, str, int, str, str, str]) -> ResultLine | None:
    """The line of this unit (see `ResultLine.unit`); lines of other victims are not parsed. Raises as `read_lines`."""
    model_hash = unit[3].encode()  # older lines may hash their settings with a preset's former name
    for number, text in enumerate(_whole(path), start=1):
        if model_hash in text and (line := _line(f"{path}:{number}", text)).unit == unit:
            return line
    return None


def append_line(path: Path, line: ResultLine, checked: int = 0) -> bool:
    """Append `line` and flush it to disk, or return False if the file has its unit; drops an unfinished last line.

    checked: length of the start of the file (see `length`) that is known to lack this unit; only later lines are read.
    Raises as `read_lines`, and StorageError if the file cannot be written.
    """
    make_folder(path.parent)
    try:
        with FileLock(path.with_name(f"{path.name}.lock")):
            start, added = _from(path, checked)
            after = f"{path}:" if start == 0 else f"{path}, after byte {start}: line "
            lines = [_line(f"{after}{number}", text) for number, text in enumerate(added.splitlines(), start=1)]
            if any(line.unit == present.unit for present in lines):
                return False
            _write(path, start + len(added), f"{line.model_dump_json()}\n".encode())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); free space, or name another file") from error
    return True


def check_place(path: Path) -> None:
    """Raise StorageError unless lines may be appended to `path`; it is tried, and no new file stays.

    Without its folder, whose place is checked elsewhere, there is nothing to try.
    """
    if not path.parent.is_dir():
        return
    try:
        with FileLock(path.with_name(f"{path.name}.lock")):
            there = os.path.lexists(path)
            path.open("ab").close()
            if not there:
                path.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); name another file with --out") from error


def _whole(path: Path) -> list[bytes]:
    return _from(path, 0)[1].splitlines()


def _from(path: Path, start: int) -> tuple[int, bytes]:
    """That byte and the complete lines after it; all lines from 0 where the file has become shorter than `start`."""
    try:
        with open_outside(path, RESULTS_BYTES) as file:
            size = os.fstat(file.fileno()).st_size  # what others add meanwhile is read the next time
            start = file.seek(start if start <= size else 0)
            data = file.read(size - start)
    except (FileNotFoundError, NotADirectoryError):
        return 0, b""
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); name another file") from error
    return start, data[: data.rfind(b"\n") + 1]


def _line(where: str, text: bytes) -> ResultLine:
    _check_length(where, text)
    try:
        return ResultLine.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"{where}: is no result line: {complaint(error)}; name another file") from None


def _check_length(where: str, text: bytes) -> None:
    if len(text) > LINE_BYTES:
        raise DataError(f"{where}: has {len(text):,} bytes, and a line of results at most {LINE_BYTES:,}; take it out")


def _write(path: Path, end: int, text: bytes) -> None:
    with path.open("ab") as file:
        file.truncate(end)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


_MAY_DIFFER = {"seconds", "environment", "decision_queries", "image_shape", "probability"}
"""Fields in which two lines of one scan may differ: where and how fast it ran, what older lines lack, and what another
calibration makes of the same verdict."""


@dataclass(frozen=True)
class _Placed:
    """A line and its place, for messages."""

    line: ResultLine
    place: str


def holds_scans(file: Path) -> bool:
    """Whether the first line of a file could be a result line; files of other measurements hold other JSON objects.

    Raises DataError for a file that cannot be read.
    """
    first = next((line for line in _text(file).splitlines() if line.strip()), b"")
    try:
        told = json.loads(first)
    except (ValueError, RecursionError):  # whoever parses it as a result line says what is wrong
        return True
    return not isinstance(told, dict) or {"model_hash", "config_hash"} <= told.keys()


def checked_lines(files: Sequence[Path], *, made_again: bool = False) -> list[ResultLine]:
    """The lines of all files in order, each of another scan; of equal lines the last counts.

    made_again: whether victims of one zoo and index may differ in their weights, as of a zoo that was made twice.
    Raises DataError, which names file and line, for an unreadable file, an incomplete line or no result line, and for
    two lines that disagree about a scan or about a victim.
    """
    by_unit: dict[tuple[str, ...], _Placed] = {}
    victims: dict[tuple[str, ...], _Placed] = {}
    for placed in (placed for file in files for placed in _placed(file)):
        _check_victim(placed, victims, made_again=made_again)
        unit = tuple(map(str, placed.line.unit))
        if unit in by_unit:
            _check_again(placed, by_unit[unit])
        by_unit[unit] = placed
    return [placed.line for placed in by_unit.values()]


def _text(file: Path) -> bytes:
    try:
        return read_outside(file, RESULTS_BYTES, growing=True).data
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); name a file of results") from error


def _placed(file: Path) -> Iterator[_Placed]:
    for number, line in enumerate(_text(file).splitlines(keepends=True), start=1):
        if line.strip():
            place = f"{file}, line {number}"
            yield _Placed(_parsed(line, place), place)


def _parsed(line: bytes, place: str) -> ResultLine:
    _check_length(place, line)
    try:
        return ResultLine.model_validate_json(line)
    except ValidationError as error:
        if not line.endswith(b"\n"):
            repair = "run the same command again to repair it, or remove the line"
            raise DataError(f"{place}: is incomplete; {repair}") from error
        raise DataError(f"{place}: is no result line: {complaint(error)}") from error


def _check_again(placed: _Placed, before: _Placed) -> None:
    if placed.line.model_dump(exclude=_MAY_DIFFER) != before.line.model_dump(exclude=_MAY_DIFFER):
        raise DataError(
            f"{placed.place}: differs from {before.place}, which is of the same scan; remove one of the two lines"
        )


def _check_victim(placed: _Placed, victims: dict[tuple[str, ...], _Placed], *, made_again: bool) -> None:
    line = placed.line
    which = (line.zoo, line.split, str(line.index), *([line.model_hash] if made_again else []))
    before = victims.setdefault(which, placed)
    if _victim(before.line) != _victim(line):
        raise DataError(
            f"{placed.place}: victim {line.index} of zoo {line.zoo} differs from that in {before.place}, so these are"
            " two zoos of one name; read their lines separately"
        )


def _victim(line: ResultLine) -> tuple[object, ...]:
    kind = (line.model_hash, line.truth, line.stratum, line.attack, line.architecture)
    return (*kind, line.target_classes, line.clean_accuracy, line.implant_success)
