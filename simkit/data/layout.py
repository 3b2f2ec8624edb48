"""Which image files a folder holds, of which class and split, found by their names alone.

    DIR/CLASS/*.png                one set, of which a quarter is the test split
    DIR/{train,test}/CLASS/*.png   `val` or `validation` will do for `test`
    DIR/*.png                      images without labels, all of them for the test split

Also .jpg, .jpeg, .bmp, .webp and .ppm. Classes are sorted by name, or by number where every name is one; another order
is said in `DIR/classes.txt`, one name a line, as the model numbers them. Hidden files and files of other kinds are left
out. Symbolic links are followed, never deeper than this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simkit.data.source import Split, quarter_split
from simkit.errors import DataError
from simkit.triggers import IntArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
CLASSES_FILE = "classes.txt"
_SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation")}
_SPLIT_NAMES = frozenset(name for names in _SPLITS.values() for name in names)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The image files of one split. labels: int32, -1 for all where nobody knows. classes: empty where not named."""

    files: tuple[Path, ...]
    labels: IntArray
    classes: tuple[str, ...]

    @property
    def unlabelled(self) -> bool:
        """Whether nobody knows the classes."""
        return bool((self.labels < 0).any())


@dataclass(frozen=True)
class _Listing:
    """What of a folder matters: the names of its image files and of its folders, sorted."""

    images: tuple[str, ...]
    folders: tuple[str, ...]


def holds_images(folder: Path) -> bool:
    """Whether there is an image file in `folder`, in a folder of it, or in one of those."""
    return _holds_images(folder, depth=2)


def find_files(folder: Path, split: Split) -> ImageFiles:
    """The image files of the split. Raises DataError that says what to change."""
    top = _listing(folder)
    if top.folders and not top.images and set(top.folders) <= _SPLIT_NAMES:
        found = _stored_part(folder, top.folders, split)
    else:
        whole = _files(folder, top, _named_classes(folder) or _ordered(top.folders))
        found = whole if whole.unlabelled else _part(whole, split, folder)
    if found.unlabelled and split == "train":
        raise DataError(
            f"{folder}: images without labels, nothing can be trained on them; give a folder for each class"
        )
    return found


def _stored_part(folder: Path, splits: Sequence[str], split: Split) -> ImageFiles:
    """The split that has a folder of its own; the classes are those of all splits together."""
    name = next((name for name in _SPLITS[split] if name in splits), None)
    if name is None:
        raise DataError(f"{folder}: holds {', '.join(splits)}; add a folder {' or '.join(_SPLITS[split])}")
    found = {sub: _listing(folder / sub) for sub in splits}
    classes = _named_classes(folder) or _ordered({c for listing in found.values() for c in listing.folders})
    return _files(folder / name, found[name], classes)


def _part(whole: ImageFiles, split: Split, folder: Path) -> ImageFiles:
    rows = quarter_split(whole.labels, str(folder))[split]
    return ImageFiles(tuple(whole.files[row] for row in rows), whole.labels[rows], whole.classes)


def _files(folder: Path, listing: _Listing, classes: tuple[str, ...]) -> ImageFiles:
    if listing.images and listing.folders:
        raise DataError(
            f"{folder}: holds images, as {listing.images[0]}, beside the folder {listing.folders[0]}; give either one "
            "folder a class, or images without labels"
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
    """The images of one class, none if the folder is empty: the class keeps its number."""
    listing = _listing(folder)
    if listing.folders:
        raise DataError(f"{folder}: holds the folder {listing.folders[0]}; put the images of a class right into it")
    return tuple(folder / name for name in listing.images)


def _some(files: tuple[Path, ...], folder: Path) -> tuple[Path, ...]:
    if not files:
        raise DataError(f"{folder}: holds no images; it takes {' '.join(SUFFIXES)}")
    return files


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """By number where every name is one, else by name."""
    found = sorted(names)
    return tuple(sorted(found, key=int)) if all(name.isdecimal() for name in found) else tuple(found)


def _named_classes(folder: Path) -> tuple[str, ...]:
    """The classes in `classes.txt`, none where there is no such file."""
    file = folder / CLASSES_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not all(names) or len(set(names)) != len(names):
        raise DataError(f"{file}: has an empty line or a name twice; write every class once, one name a line")
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
    return _Listing(tuple(sorted(images)), tuple(sorted(folders)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
