"""Checks that the write-ahead log of a ledger is complete. SQLite silently drops the rest of a damaged log, and with it
charged queries.

The shared memory file, which outlives a killed process, says how far the log must reach: SQLite writes the number of
committed frames there before a commit returns. The format is described in https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.errors import StorageError, translated
from db.held import apart

_HEADER, _FRAME, _INDEX = 32, 24, 48
_MAGIC = 0x377F0682
_TRIES = 3

Sums = tuple[int, int]


def check_log(path: Path) -> None:
    """Raise StorageError if commits are missing at the end of the log of the ledger at `path`. Changes no file.

    Without shared memory (as in a copy of the two other files) only damage before the last commit is detected.
    """
    for _ in range(_TRIES):
        with translated(path), apart(path) as free:
            if not free:  # this process has the ledger open, so SQLite has already read the log
                return
            before, log, after = _index(path), _bytes(path, "-wal"), _index(path)
        if before == after:
            break
    else:
        return  # another program keeps writing, so its log is complete
    whole = _whole(log)
    if before is not None and before.frames == 0:
        return
    matches = before is not None and (len(log) < _HEADER or before.salt == log[16:24])
    lost = whole.frames < before.frames if before is not None and matches else whole.commits_after
    if lost:
        name = path.name
        raise StorageError(
            f"{path}: its log is damaged after {whole.end} bytes and commits are lost; restore all files from a copy, "
            f"or continue without them: truncate -s {whole.end} {name}-wal; rm -f {name}-shm"
        )


@dataclass(frozen=True)
class _Index:
    """The contents of the shared memory: the number of committed frames, and the salt of their log."""

    frames: int
    salt: bytes


@dataclass(frozen=True)
class _Whole:
    """The intact beginning of a log. end: its length in bytes. commits_after: whether commits of the same log
    follow."""

    frames: int
    end: int
    commits_after: bool


def _bytes(path: Path, suffix: str, most: int = -1) -> bytes:
    beside = path.with_name(path.name + suffix)
    if not beside.is_file():
        return b""
    with beside.open("rb") as file:
        return file.read(most)


def _index(path: Path) -> _Index | None:
    """The index in the shared memory; None if there is none, or if it was not completely written."""
    data = _bytes(path, "-shm", 2 * _INDEX)
    if len(data) < 2 * _INDEX or data[:_INDEX] != data[_INDEX:] or not data[12]:
        return None
    if _sums(data[: _INDEX - 8], (0, 0), "=u4") != struct.unpack("=2I", data[_INDEX - 8 : _INDEX]):
        return None
    return _Index(struct.unpack("=I", data[16:20])[0], data[32:40])


def _whole(log: bytes) -> _Whole:
    """The frames from the first on whose checksums continue each other."""
    if len(log) < _HEADER or not any(log[:_HEADER]):
        return _Whole(0, 0, False)
    magic, _, size = struct.unpack(">3I", log[:12])
    words = ">u4" if magic & 1 else "<u4"
    sums = _sums(log[:24], (0, 0), words)
    if magic & ~1 != _MAGIC or sums != struct.unpack(">2I", log[24:32]) or size < 512:
        return _Whole(0, 0, len(log) > _HEADER)
    count = (len(log) - _HEADER) // (_FRAME + size)
    frames = np.frombuffer(log, np.uint8, count * (_FRAME + size), _HEADER).reshape(count, _FRAME + size)
    heads = frames[:, :_FRAME].copy().view(">u4").astype(np.int64)
    same = (heads[:, 2:4] == np.frombuffer(log, ">u4", 2, 16)).all(axis=1)
    good = _continued(frames, heads, same, sums, words)
    return _Whole(good, _HEADER + good * (_FRAME + size), bool((same & (heads[:, 1] > 0))[good:].any()))


def _continued(
    frames: NDArray[np.uint8], heads: NDArray[np.int64], same: NDArray[np.bool_], sums: Sums, words: str
) -> int:
    """The number of frames, from the first on, with the log's salt and a correct checksum."""
    data = np.concatenate([frames[:, :8], frames[:, _FRAME:]], axis=1).view(words).astype(np.uint32)
    parts, power = _parts(data)
    for number, part in enumerate(parts.tolist()):
        sums = _stepped(power, sums, part)
        if not same[number] or sums != tuple(heads[number, 4:6].tolist()):
            return number
    return len(frames)


def _sums(data: bytes, start: Sums, words: str) -> Sums:
    """SQLite's checksum over pairs of words (x, y): s0 += x + s1, then s1 += y + s0, modulo 2^32."""
    parts, power = _parts(np.frombuffer(data, words).astype(np.uint32)[None])
    return _stepped(power, start, parts[0].tolist())


def _parts(data: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], list[list[int]]]:
    """What each row adds to the sums, uint32 (N, 2), and the matrix that multiplies the sums before the row.

    One pair is a linear map, s -> M s + (x, x + y) with M = ((1, 1), (1, 2)), so n pairs are dot products with powers
    of M.
    """
    pairs = data.shape[1] // 2
    step = np.array([[1, 1], [1, 2]], np.uint32)
    powers = np.empty((pairs + 1, 2, 2), np.uint32)
    powers[0] = np.eye(2)
    for n in range(pairs):
        powers[n + 1] = powers[n] @ step
    x, both = data[:, 0::2], data[:, 0::2] + data[:, 1::2]
    taken = powers[pairs - 1 :: -1]
    parts = [x @ taken[:, row, 0] + both @ taken[:, row, 1] for row in (0, 1)]
    return np.stack(parts, axis=1), powers[pairs].tolist()


def _stepped(power: list[list[int]], sums: Sums, part: list[int]) -> Sums:
    s0, s1 = (sum(p * s for p, s in zip(row, sums, strict=True)) + add for row, add in zip(power, part, strict=True))
    return s0 % 2**32, s1 % 2**32
