"""Loads images from a source that the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from oracles.known_files import file_mistaken_for
from simkit.data.digits import Digits
from simkit.data.folder import FolderSource
from simkit.data.images import ImageSet
from simkit.data.layout import SUFFIXES, holds_images
from simkit.data.npz import NpzSource
from simkit.data.parquet import ParquetSource, holds_parquet
from simkit.data.parquet_labels import LABEL
from simkit.data.shapes import Shapes
from simkit.data.source import Source, Split
from simkit.data.vision import PREFIX, open_torchvision
from simkit.errors import DataError

_BUILT_IN: Mapping[str, Callable[[], Source]] = MappingProxyType({"digits": Digits, "drawn-shapes": Shapes})

KINDS = (
    "`digits`, `drawn-shapes`, torchvision:cifar10 (gtsrb, imagenette), a .npz file, or a folder of images or of "
    "Parquet files"
)


def load(
    data: str | Path,
    split: Split,
    limit: int | None = None,
    seed: int = 0,
    image_size: tuple[int, int] | None = None,
) -> ImageSet:
    """The images of one split.

    data: `digits`, `drawn-shapes`, `torchvision:cifar10`, `torchvision:gtsrb` or `torchvision:imagenette`, a `.npz`
    file, a folder of images (with one folder per class, or without labels), or a folder of Parquet files, after which
    `:label=COLUMN` names the column of the labels. limit: number of images, chosen at random by `seed`; of files, the
    others are not decoded.
    image_size: (height, width) to which image files are stretched; None keeps their size, which must be the same for
    all. Raises DataError with one line that names the file, the column and the row.
    """
    if split not in ("train", "test"):
        raise DataError(f"no split {split!r}; choose train or test")
    return open_source(data, image_size).read(split, limit, seed)


def absolute(data: str, folder: Path) -> str:
    """`data` with a path relative to `folder` made absolute; names are returned unchanged."""
    named = data in ("", *_BUILT_IN) or data.startswith(PREFIX)
    return data if named else str((folder / data).absolute())


def open_source(data: str | Path, image_size: tuple[int, int] | None = None) -> Source:
    """The source behind a name or path. Raises DataError if there is none."""
    named, found, column = str(data).rpartition(LABEL)
    if found and not Path(data).exists():
        return _with_label(open_source(named, image_size), named, column)
    if isinstance(data, str) and data.startswith(PREFIX):
        return open_torchvision(data, image_size)
    path = Path(data)
    if data not in _BUILT_IN and path.is_dir():
        return _open_folder(path, image_size)
    if data not in _BUILT_IN and not path.exists():
        raise DataError(f"{path}: no such data; name {KINDS}")
    if data not in _BUILT_IN and path.suffix != ".npz":
        if kind := file_mistaken_for(path):
            raise DataError(f"{path}: is {kind}")
        raise DataError(f"{path}: a {path.suffix or 'nameless'} file; name {KINDS}")
    if image_size is not None:
        raise DataError(f"{data}: image_size is for image files; store the images of an array at the size they need")
    return _BUILT_IN[data]() if isinstance(data, str) and data in _BUILT_IN else NpzSource(path)


def _with_label(source: Source, named: str, column: str) -> Source:
    if not isinstance(source, ParquetSource):
        raise DataError(f"{named}: is {source.kind}, whose labels have no column; leave out {LABEL}{column}")
    return replace(source, label=column)


def _open_folder(folder: Path, image_size: tuple[int, int] | None) -> Source:
    parquet, images = holds_parquet(folder), holds_images(folder)
    if parquet and images:
        raise DataError(f"{folder}: holds Parquet files and image files; keep one kind there, or name a folder in it")
    if not parquet and not images:
        raise DataError(
            f"{folder}: holds no images ({' '.join(SUFFIXES)}) and no Parquet files, or too deep in folders"
        )
    return ParquetSource(folder, image_size) if parquet else FolderSource(folder, image_size)
