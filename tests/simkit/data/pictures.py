"""Small pictures on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(number: int, height: int = 4, width: int = 5) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3), another for each number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: NDArray[np.uint8], mode: str = "RGB", **options: Any) -> Path:
    """Write the picture in the format of its suffix and in this mode; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def save_classes(folder: Path, counts: dict[str, int], height: int = 4, width: int = 5) -> Path:
    """So many PNG pictures for each class, numbered through."""
    number = 0
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            save(folder / name / f"{number:03}.png", picture(number, height, width))
            number += 1
    return folder
