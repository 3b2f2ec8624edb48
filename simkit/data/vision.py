"""torchvision's CIFAR10, GTSRB and Imagenette, downloaded if necessary; needs the extra `vision`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oracles.errors import one_line
from simkit.data.arrays import from_bytes
from simkit.data.decode import to_pixels
from simkit.data.images import ImageSet
from simkit.data.source import Split, choose
from simkit.errors import DataError
from simkit.home import home

PREFIX = "torchvision:"
_SIZES = {"cifar10": (32, 32), "gtsrb": (32, 32), "imagenette": (96, 96)}
_GTSRB_CLASSES = 43


@dataclass(frozen=True)
class TorchvisionSource:
    """`cifar10` (50,000 and 10,000 images), `gtsrb` (26,640 and 12,630) or `imagenette` (9,469 and 3,925), in colour.

    image_size: (height, width); by default 32x32, and 96x96 for imagenette, from its files with 160 pixels per side.
    root: the folder of torchvision's files. CIFAR10 consists of pickles; torchvision checks the MD5 of each file before
    it unpickles it. Images of another size are stretched, see `simkit.data.decode`.
    """

    name: str
    root: Path
    image_size: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return f"torchvision's {self.name}, in {self.root}"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return len(self._open(split))

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        dataset = self._open(split)
        rows = choose(len(dataset), limit, seed, split)
        shape = (3, *(self.image_size or _SIZES[self.name]))
        pixels, labels = np.empty((len(rows), *shape), np.uint8), np.empty(len(rows), np.int32)
        for place, row in enumerate(rows.tolist()):
            where = f"{PREFIX}{self.name}: {split} image {row}"
            try:
                image, labels[place] = dataset[row]
            except Exception as error:  # a file that is missing or truncated after an interrupted download
                raise DataError(f"{where}: {one_line(error)}; remove {self.root} and fetch it again") from error
            pixels[place] = to_pixels(image, shape, where)
        images = from_bytes(pixels)
        return ImageSet(images, labels, self._classes(dataset), f"{self.name}/{split}")

    def _classes(self, dataset: Any) -> tuple[str, ...]:
        names = getattr(dataset, "classes", None) or map(str, range(_GTSRB_CLASSES))
        return tuple(
            name if isinstance(name, str) else name[0] for name in names
        )  # imagenette has several names per class

    def _open(self, split: Split) -> Any:
        datasets = _torchvision_datasets()
        makers: dict[str, Callable[[], Any]] = {
            "cifar10": lambda: datasets.CIFAR10(self.root, train=split == "train", download=True),
            "gtsrb": lambda: datasets.GTSRB(self.root, split=split, download=True),
            "imagenette": lambda: datasets.Imagenette(
                self.root,
                split={"train": "train", "test": "val"}[split],
                size="160px",
                download=not (self.root / "imagenette2-160").is_dir(),  # some versions fail if it already exists
            ),
        }
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout may be one JSON object
                return makers[self.name]()
        except Exception as error:  # networks, archives and pickles raise errors of many types
            raise DataError(
                f"{PREFIX}{self.name}: cannot be loaded: {one_line(error)}; without a network put torchvision's files "
                f"into {self.root}, or name their folder with {PREFIX}{self.name}@DIR"
            ) from error


def open_torchvision(data: str, image_size: tuple[int, int] | None) -> TorchvisionSource:
    """The source behind `torchvision:NAME` or `torchvision:NAME@DIR`; the default folder is `data` in SIMKIT_HOME."""
    name, at, folder = data.removeprefix(PREFIX).partition("@")
    if name not in _SIZES or (at and not folder):
        names = ", ".join(f"{PREFIX}{known}" for known in _SIZES)
        raise DataError(f"{data}: no such data set; choose from {names}, with @DIR for a folder of their files")
    return TorchvisionSource(name, Path(folder) if folder else home() / "data", image_size)


def _torchvision_datasets() -> Any:
    try:
        from torchvision import datasets  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise DataError("torchvision is not installed; pip install 'b3d-simkit[vision]'") from error
    except Exception as error:  # "operator torchvision::nms does not exist": built for another torch
        raise DataError(
            f"torchvision cannot be loaded with torch {version('torch')}: {one_line(error)}; install both from the "
            "same index, either for the CPU or for CUDA"
        ) from error
    return datasets
