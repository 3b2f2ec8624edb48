"""From what the user names to images: a built-in set, a `.npz` file, or a folder of Parquet files."""

from __future__ import annotations

from pathlib import Path

from simkit.data.digits import Digits
from simkit.data.images import ImageSet
from simkit.data.npz import NpzSource
from simkit.data.parquet import ParquetSource
from simkit.data.source import Source, Split
from simkit.errors import DataError


def load(data: str | Path, split: Split, limit: int | None = None, seed: int = 0) -> ImageSet:
    """The images of one split.

    data: `digits`, a `.npz` file, or a folder of Parquet files. limit: so many images, chosen at random by `seed`; the
    others are not decoded. Raises DataError in one line that names the file, the column and the row.
    """
    if split not in ("train", "test"):
        raise DataError(f"no split {split!r}; choose train or test")
    return open_source(data).read(split, limit, seed)


def open_source(data: str | Path) -> Source:
    """The source behind a name or path. Raises DataError if there is none."""
    if data == "digits":
        return Digits()
    path = Path(data)
    if path.is_dir():
        return ParquetSource(path)
    if not path.exists():
        raise DataError(f"{path}: no such data; name `digits`, a .npz file, or a folder of Parquet files")
    if path.suffix != ".npz":
        raise DataError(f"{path}: a {path.suffix or 'nameless'} file; name `digits`, a .npz file, or a Parquet folder")
    return NpzSource(path)
