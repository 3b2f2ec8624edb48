"""Which image files a folder holds, with their class and split, determined by their names only.

    DIR/CLASS/*.png                one set, of which a quarter is the test split
    DIR/{train,test}/CLASS/*.png   `val` or `validation` also count as `test`
    DIR/*.png                      images without labels, all in the test split

Also .jpg, .jpeg, .bmp, .webp and .ppm. Classes are sorted by name, or by number if all names are numbers;
`DIR/classes.txt` sets another order, one name per line, as the model numbers them. Hidden files and other files are
ignored. Symbolic links are followed, but not to deeper folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracles.outside import TEXT_BYTES, read_outside, reason
from simkit.data.source import Split, quarter_split
from simkit.errors import DataError
from simkit.triggers import IntArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
CLASSES_FILE = "classes.txt"
_SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation")}
_SPLIT_NAMES = frozenset(name for names in _SPLITS.values() for name in names)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The image files of one split. labels: int32, all -1 if unknown. classes: empty if not named."""

    files: tuple[Path, ...]
    labels: IntArray
    classes: tuple[str, ...]

    @property
    def unlabelled(self) -> bool:
        """Whether the classes are unknown."""
        return bool((self.labels < 0).any())


@dataclass(frozen=True)
class _Listing:
    """The sorted names of a folder's image files and of its folders, and whether it has a `classes.txt`."""

    images: tuple[str, ...]
    folders: tuple[str, ...]
    names_classes: bool


def holds_images(folder: Path) -> bool:
    """Whether there is an image file in `folder` or at most two folders below it."""
    return _holds_images(folder, depth=2)


def find_files(folder: Path, split: Split) -> ImageFiles:
    """The image files of the split. Raises DataError with what to change."""
    top = _listing(folder)
    if top.folders and not top.images and set(top.folders) <= _SPLIT_NAMES:
        part = _stored_part(folder, top, split)
    else:
        whole = _files(folder, top, _named_classes(folder, top) or ordered(top.folders))
        part = whole if whole.unlabelled else _part(whole, split, folder)
    if part.unlabelled and split == "train":
        raise DataError(f"{folder}: training needs labels, which these images lack; give one folder per class")
    return part


def _stored_part(folder: Path, top: _Listing, split: Split) -> ImageFiles:
    """A split with its own folder; the classes are those of all splits together."""
    splits = top.folders
    name = next((name for name in _SPLITS[split] if name in splits), None)
    if name is None:
        raise DataError(f"{folder}: holds {', '.join(splits)}; add a folder {' or '.join(_SPLITS[split])}")
    listings = {sub: _listing(folder / sub) for sub in splits}
    classes = _named_classes(folder, top) or ordered({c for listing in listings.values() for c in listing.folders})
    return _files(folder / name, listings[name], classes)


def _part(whole: ImageFiles, split: Split, folder: Path) -> ImageFiles:
    rows = quarter_split(whole.labels, str(folder))[split]
    return ImageFiles(tuple(whole.files[row] for row in rows), whole.labels[rows], whole.classes)


def _files(folder: Path, listing: _Listing, classes: tuple[str, ...]) -> ImageFiles:
    if listing.images and listing.folders:
        raise DataError(
            f"{folder}: holds images such as {listing.images[0]} beside the folder {listing.folders[0]}; give either "
            "one folder per class, or images without labels"
        )
    if not listing.folders:
        files = tuple(folder / name for name in listing.images)
        return ImageFiles(_some(files, folder), np.full(len(files), -1, dtype=np.int32), classes)
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in listing.folders if name not in numbers]
    if unknown:
        raise DataError(f"{folder / unknown[0]}: no such class in {CLASSES_FILE}; add it there as the model numbers it")
    by_class = {name: _class_files(folder / name) for name in listing.folders}
    labels = [np.full(len(files), numbers[name], dtype=np.int32) for name, files in by_class.items()]
    files = tuple(file for some in by_class.values() for file in some)
    return ImageFiles(_some(files, folder), np.concatenate(labels), classes)


def _class_files(folder: Path) -> tuple[Path, ...]:
    """The images of one class, empty for an empty folder, whose class keeps its number."""
    listing = _listing(folder)
    if listing.folders:
        raise DataError(f"{folder}: holds the folder {listing.folders[0]}; put the images of a class directly into it")
    return tuple(folder / name for name in listing.images)


def _some(files: tuple[Path, ...], folder: Path) -> tuple[Path, ...]:
    if not files:
        raise DataError(f"{folder}: holds no images; it takes {' '.join(SUFFIXES)}")
    return files


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted by number if all names are numbers, otherwise by name."""
    by_name = sorted(names)
    return tuple(sorted(by_name, key=int)) if all(name.isdecimal() for name in by_name) else tuple(by_name)


def _named_classes(folder: Path, listing: _Listing) -> tuple[str, ...]:
    """The classes in `classes.txt`, empty if there is no such file."""
    if not listing.names_classes:
        return ()
    file = folder / CLASSES_FILE
    try:
        text = read_outside(file, TEXT_BYTES).text
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text: {reason(error)}") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not all(names) or len(set(names)) != len(names):
        raise DataError(f"{file}: has an empty line or a name twice; write every class once, one name per line")
    return tuple(names)


def _holds_images(folder: Path, depth: int) -> bool:
    listing = _listing(folder)
    return bool(listing.images) or (depth > 0 and any(_holds_images(folder / f, depth - 1) for f in listing.folders))


def _listing(folder: Path) -> _Listing:
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
    folders = {entry.name for entry in seen if _is_folder(entry)}
    images = (e.name for e in seen if e.name.lower().endswith(SUFFIXES) and e.name not in folders)
    names_classes = any(entry.name == CLASSES_FILE for entry in seen)
    return _Listing(tuple(sorted(images)), tuple(sorted(folders)), names_classes)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
