"""A folder of Parquet files with encoded images and class labels, in the layout of Hugging Face `datasets`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oracles.known_files import file_mistaken_for
from simkit.data.arrays import from_bytes
from simkit.data.decode import channels, open_image, shape_of, to_pixels
from simkit.data.images import ImageSet, ImageShape
from simkit.data.parquet_files import batches, chosen, opened
from simkit.data.parquet_labels import MOST_CLASSES, Columns, check_columns, common_columns, numbered
from simkit.data.source import IndexArray, Split, choose, empty_pixels
from simkit.errors import DataError

_PREFIXES: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "validation", "val")}


@dataclass(frozen=True)
class ParquetSource:
    """`train*.parquet` and `test*.parquet` (or `validation*`) in `folder` or in its subfolder `data`.

    Columns: an image, a struct of `bytes` and `path`, and a label, an integer or text, in the column that `label` names
    if it does. Without an `image_size` (height, width) all images must have the same size; grey images among colour
    images get three channels. See `simkit.data.decode`.
    """

    folder: Path
    image_size: tuple[int, int] | None = None
    label: str | None = None

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return "a folder of Parquet files"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return _count(self._files(split))

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        files = self._files(split)
        columns = self._columns(files)
        rows = choose(_count(files), limit, seed, split)
        first = _first_shape(files[0], columns)
        colours = first[0] if first[0] == 3 else _most_channels(files, columns, rows)
        shape = (colours, *(self.image_size or first[1:]))
        pixels, labels = empty_pixels(len(rows), shape, str(self.folder)), np.empty(len(rows), np.int32)
        for place, cell in _cells(files, columns, rows):
            pixels[place], labels[place] = cell.decode(shape, self.image_size is None), cell.class_id(columns.classes)
        classes = columns.classes or numbered(self._every(), columns.label)
        images = from_bytes(pixels)
        return ImageSet(images, labels, classes, f"{self.folder.name}/{split}")

    def _files(self, split: Split) -> list[Path]:
        files = _find(self.folder, split)
        if not files:
            wanted = " or ".join(f"{prefix}*.parquet" for prefix in _PREFIXES[split])
            raise DataError(f"{self.folder}: no {wanted} here or in {self.folder / 'data'}")
        for file in files:
            if kind := file_mistaken_for(file):
                raise DataError(f"{file}: is {kind}")
        return files

    def order(self, split: Split) -> str:
        """Where the numbers of the classes come from, in words. Raises DataError."""
        return self._columns(self._files(split)).order

    def _columns(self, files: list[Path]) -> Columns:
        return common_columns(files, self._every(), self.label)

    def _every(self) -> list[Path]:
        return [file for split in _PREFIXES for file in _find(self.folder, split)]


@dataclass(frozen=True)
class _Cell:
    """One row, with its origin for error messages."""

    file: Path
    row: int
    columns: Columns
    data: bytes | None
    label: int | None

    def decode(self, shape: ImageShape, same_size: bool) -> NDArray[np.uint8]:
        image = self.open()
        size = shape_of(image, self._where(self.columns.image))[1:]
        if same_size and size != shape[1:]:
            sizes = f"is {size[0]}x{size[1]}, the first image {shape[1]}x{shape[2]}"
            raise self._error(self.columns.image, f"{sizes}; bring all to one size with image_size")
        return to_pixels(image, shape, self._where(self.columns.image))

    def open(self) -> Image.Image:
        if self.data is None:
            raise self._error(self.columns.image, "has no bytes; store the encoded image, not only its path")
        return open_image(io.BytesIO(self.data), self._where(self.columns.image))

    def class_id(self, classes: tuple[str, ...] | None) -> int:
        if self.label is None or not 0 <= self.label < (MOST_CLASSES if classes is None else len(classes)):
            allowed = "" if classes is None else f"; the {len(classes)} classes are counted from 0"
            if self.label in (-1, None):
                allowed = ", which means that its class is unknown; name another split, or leave such rows out"
            raise self._error(self.columns.label, f"is {self.label}{allowed}")
        return self.label

    def _error(self, column: str, what: str) -> DataError:
        return DataError(f"{self._where(column)}: {what}")

    def _where(self, column: str) -> str:
        return f"{self.file}: column {column!r}, row {self.row}"


def holds_parquet(folder: Path) -> bool:
    """Whether there is a Parquet file where `ParquetSource` looks for it."""
    return any(next(place.glob("*.parquet"), None) for place in (folder, folder / "data"))


def _find(folder: Path, split: Split) -> list[Path]:
    for place in (folder, folder / "data"):
        for prefix in _PREFIXES[split]:
            files = sorted(place.glob(f"{prefix}[.-]*parquet"))
            if files:
                return files
    return []


def _count(files: Sequence[Path]) -> int:
    rows = 0
    for file in files:
        with opened(file) as parquet:
            rows += int(parquet.metadata.num_rows)
    return rows


def _first_shape(file: Path, columns: Columns) -> ImageShape:
    for _, cell in _cells([file], columns, np.zeros(1, np.int64)):
        return shape_of(cell.open(), f"{file}: column {columns.image!r}, row 0")
    raise DataError(f"{file}: holds no rows")


def _most_channels(files: Sequence[Path], columns: Columns, rows: IndexArray) -> int:
    """3 if one of these images is in colour, else 1, from their headers."""
    return max((channels(cell.open()) for _, cell in _cells(files, columns, rows)), default=1)


def _cells(files: Sequence[Path], columns: Columns, rows: IndexArray) -> Iterator[tuple[int, _Cell]]:
    """(position in `rows`, the cell), one row group in memory at a time; rows are counted over all files."""
    order = np.argsort(rows, kind="stable")
    wanted, start = rows[order], 0
    for file in files:
        file_start = start
        with opened(file) as parquet:
            for group in range(parquet.num_row_groups):
                stop = start + parquet.metadata.row_group(group).num_rows
                low, high = np.searchsorted(wanted, [start, stop])
                if low < high:
                    for k, data, label in _group_cells(file, parquet, group, columns, wanted[low:high] - start):
                        row = int(wanted[low + k]) - file_start
                        yield int(order[low + k]), _Cell(file, row, columns, data, label)
                start = stop


def _group_cells(
    file: Path, parquet: Any, group: int, columns: Columns, rows: IndexArray
) -> Iterator[tuple[int, bytes | None, int | None]]:
    """(position in `rows`, the encoded image, its label) of the sorted rows of one group."""
    check_columns(file, parquet, columns.image, columns.label)
    for start, batch in batches(file, parquet, group, [f"{columns.image}.bytes", columns.label]):
        low, high, part = chosen(batch, start, rows)
        images, labels = part.column(columns.image), columns.numbers(file, part.column(columns.label))
        for k in range(high - low):
            cell = images[k].as_py()
            yield low + k, None if cell is None else cell["bytes"], labels[k]
