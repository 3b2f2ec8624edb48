"""Describes a source of images, which users can check before a scan."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simkit.data.folder import FolderSource
from simkit.data.images import ImageSet, ImageShape
from simkit.data.layout import CLASSES_FILE
from simkit.data.load import open_source
from simkit.data.parquet import ParquetSource
from simkit.data.source import Source, Split
from simkit.errors import DataError


@dataclass(frozen=True)
class Description:
    """The contents of a source.

    train, test: number of images of the split, None if there is none. read: number of decoded test images, 0 if one of
    them is damaged; image_shape (C, H, W), labelled and per_class refer to these. classes: in the order in which the
    model must number them, empty if not named. order: where that order comes from. problems: reasons why a scan cannot
    use these images. remarks: reasons why training cannot.
    """

    source: str
    kind: str
    train: int | None
    test: int | None
    read: int
    labelled: bool
    image_shape: ImageShape | None
    classes: tuple[str, ...]
    order: str
    per_class: tuple[int, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe(
    data: str | Path, limit: int | None = None, seed: int = 0, image_size: tuple[int, int] | None = None
) -> Description:
    """Describe `data`, and decode `limit` of its test images (None: all), chosen like in a scan with that seed.

    Arguments as for `load`. Raises DataError only if there is no such source.
    """
    source = open_source(data, image_size)
    (train, remarks), (test, problems) = (_size(source, split) for split in ("train", "test"))
    images: ImageSet | None = None
    if test is not None:
        try:
            images = source.read("test", limit, seed)
        except DataError as error:
            problems = (str(error),)
    return Description(
        str(data),
        source.kind,
        train,
        test,
        **_of(images),
        order=_order(source, images),
        problems=problems,
        remarks=remarks,
    )


def _size(source: Source, split: Split) -> tuple[int | None, tuple[str, ...]]:
    try:
        return source.size(split), ()
    except DataError as error:
        return None, (str(error),)


def _order(source: Source, images: ImageSet | None) -> str:
    """Where the numbers of the classes come from; empty if they have no names."""
    if images is None or not images.classes:
        return ""
    if isinstance(source, ParquetSource):
        return source.order("test")
    if not isinstance(source, FolderSource):
        return "as the source numbers them"
    if (source.folder / CLASSES_FILE).exists():
        return f"as {CLASSES_FILE} lists them"
    if not all(name.isdecimal() for name in images.classes):
        return f"sorted as text; {CLASSES_FILE} sets another order"
    return f"sorted as numbers, where others (ImageFolder) sort as text; {CLASSES_FILE} sets another order"


def _of(images: ImageSet | None) -> dict[str, Any]:
    if images is None:
        return {"read": 0, "labelled": False, "image_shape": None, "classes": (), "per_class": ()}
    counts = Counter(images.labels.tolist())
    return {
        "read": len(images),
        "labelled": images.labelled,
        "image_shape": images.image_shape,
        "classes": images.classes,
        "per_class": tuple(counts[label] for label in range(images.n_classes)) if images.labelled else (),
    }
