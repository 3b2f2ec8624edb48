"""Reads NumPy archives whose arrays were counted before any of them is unpacked; nothing in them is unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracles.outside import ARRAYS_BYTES, OutsideFile

_ALLOWANCE, _RATIO = 2**26, 100
"""Arrays may unpack to 64 MiB, or to 100 times the file: images compress far less, and masks are small."""


def read_arrays(file: OutsideFile) -> dict[str, NDArray[Any]]:
    """The arrays by name. Raises ValueError for what is none or too large, and what zipfile, zlib and NumPy raise."""
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:  # NumPy would read other files as another format
        infos = archive.infolist()
        _check(sum(info.file_size for info in infos), len(file.data))
        _check(sum(_promised(archive, info) for info in infos), len(file.data))
    with np.load(io.BytesIO(file.data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check(unpacked: int, packed: int) -> None:
    if unpacked > min(_RATIO * packed + _ALLOWANCE, ARRAYS_BYTES):
        raise ValueError(f"it would unpack from {packed:,} to {unpacked:,} bytes")


def _promised(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Bytes that the header of a member promises; 0 for a member that is no array, which is read as bytes."""
    with archive.open(info) as member:
        if member.read(6) != b"\x93NUMPY":
            return 0
        version = (member.read(1)[0], member.read(1)[0])
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{info.filename} has version {version[0]} of the format, for arrays of records")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
    if min(shape, default=0) < 0:
        raise ValueError(f"{info.filename} has a negative size")
    return math.prod(shape) * max(dtype.itemsize, 1)
