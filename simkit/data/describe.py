"""What is in a source of images, for whoever wants to know before paying for a scan."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simkit.data.images import ImageSet, ImageShape
from simkit.data.load import load, open_source
from simkit.data.source import Split
from simkit.errors import DataError


@dataclass(frozen=True)
class Description:
    """A source as it was found.

    train, test: images of the split, None where there is none. read: test images that were decoded, none where one of
    them is damaged; image_shape (C, H, W), labelled and per_class are of those. classes: as the model must number them,
    empty where not named. problems: what keeps a scan from these images. remarks: what keeps a training from them.
    """

    source: str
    kind: str
    train: int | None
    test: int | None
    read: int
    labelled: bool
    image_shape: ImageShape | None
    classes: tuple[str, ...]
    per_class: tuple[int, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe(
    data: str | Path, limit: int | None = None, seed: int = 0, image_size: tuple[int, int] | None = None
) -> Description:
    """Look at `data`, and decode `limit` of its test images as a scan with that seed would draw them, None for all.

    Arguments as for `load`. Raises DataError only where there is no such source.
    """
    kind = open_source(data, image_size).kind
    (train, remarks), (test, problems) = (_size(data, split, image_size) for split in ("train", "test"))
    images: ImageSet | None = None
    if test is not None:
        try:
            images = load(data, "test", limit, seed, image_size)
        except DataError as error:
            problems = (str(error),)
    return Description(str(data), kind, train, test, **_of(images), problems=problems, remarks=remarks)


def _size(data: str | Path, split: Split, image_size: tuple[int, int] | None) -> tuple[int | None, tuple[str, ...]]:
    try:
        return open_source(data, image_size).size(split), ()
    except DataError as error:
        return None, (str(error),)


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
