"""A folder of image files: one folder per class, or images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simkit.data.arrays import from_bytes
from simkit.data.decode import open_image, shape_of, to_pixels
from simkit.data.images import ImageSet, ImageShape
from simkit.data.layout import find_files
from simkit.data.source import Split, choose, empty_pixels
from simkit.errors import DataError


@dataclass(frozen=True)
class FolderSource:
    """The image files in `folder`, see `simkit.data.layout`; only chosen files are opened.

    Without an `image_size` (height, width) all images must have the same size. Grey images get three channels if
    another chosen image is in colour. See `simkit.data.decode` for how an image is decoded.
    """

    folder: Path
    image_size: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """See `Source.kind`."""
        return "a folder of images"

    def size(self, split: Split) -> int:
        """See `Source.size`."""
        return len(find_files(self.folder, split).files)

    def read(self, split: Split, limit: int | None, seed: int) -> ImageSet:
        """See `Source.read`."""
        listed = find_files(self.folder, split)
        rows = choose(len(listed.files), limit, seed, split)
        files = [listed.files[row] for row in rows]
        shape = _common_shape(files, self.image_size)
        pixels = empty_pixels(len(files), shape, str(self.folder))
        for place, file in enumerate(files):
            with open_image(file, str(file)) as image:
                pixels[place] = to_pixels(image, shape, str(file))
        images = from_bytes(pixels)
        return ImageSet(images, listed.labels[rows], listed.classes, f"{self.folder.name}/{split}")


def _common_shape(files: Sequence[Path], size: tuple[int, int] | None) -> ImageShape:
    """(C, H, W) of all the files, from their headers."""
    shapes = []
    for file in files:
        with open_image(file, str(file)) as image:
            shapes.append(shape_of(image, str(file)))
        if size is None and shapes[-1][1:] != shapes[0][1:]:
            (_, *first), (_, *here) = shapes[0], shapes[-1]
            raise DataError(
                f"{file}: is {here[0]}x{here[1]}, but {files[0].name} is {first[0]}x{first[1]} (height x width); "
                f"bring all to one size with image_size={here[0]},{here[1]} or another"
            )
    height, width = size or shapes[0][1:]
    return max(count for count, _, _ in shapes), height, width
