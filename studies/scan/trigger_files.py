"""The triggers that a scan found, as files: arrays for programs, pictures for people."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db.errors import StorageError
from db.records import TriggerRow
from simkit.files import make_folder, write_atomically
from studies.render.pictures import picture


@dataclass(frozen=True)
class TriggerFiles:
    """npz: of every class. png: of the flagged classes, or of the smallest trigger there is if none is flagged."""

    npz: Path
    png: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        return {"npz": str(self.npz), "png": [str(path) for path in self.png]}


def file_stem(name: str, key: str) -> str:
    """What the files of a run are called: its model and the beginning of its key."""
    model = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem).strip("_")[:48]
    return f"{model or 'model'}-{key[:12]}"


def check_folder(folder: Path) -> None:
    """Raise StorageError unless `folder` is one that may be written, or can be made; nothing is made yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise StorageError(f"{folder}: {there} is a file; name another folder")
    if not os.access(there, os.W_OK):
        raise StorageError(f"{folder}: {there} may not be written; name another folder")


def save_triggers(folder: Path, stem: str, flagged: Sequence[int], triggers: Sequence[TriggerRow]) -> TriggerFiles:
    """Write `STEM.npz` and a picture `STEM-classN.png` of every flagged class.

    If none is flagged, the smallest trigger is `STEM-unflagged-classN.png`: no evidence, and left out if all are empty.

    The archive holds classes (T,), masks (T, 1, H, W), patterns (T, C, H, W), mask_sizes, success_rates (NaN: unknown),
    censored. Equal triggers give equal bytes. Raises StorageError.
    """
    shown, said = [t for t in triggers if t.target_class in flagged], ""
    if not flagged:
        found = (t for t in triggers if t.mask_size > 0)
        shown, said = sorted(found, key=lambda t: (t.censored, t.mask_size))[:1], "unflagged-"
    pictures = {folder / f"{stem}-{said}class{t.target_class}.png": t for t in shown}
    npz = folder / f"{stem}.npz"
    make_folder(folder)
    write_atomically(npz, _archive(triggers))
    for path, trigger in pictures.items():
        write_atomically(path, picture(trigger))
    return TriggerFiles(npz, tuple(pictures))


def _archive(triggers: Sequence[TriggerRow]) -> bytes:
    stream = io.BytesIO()
    rates = [np.nan if t.success_rate is None else t.success_rate for t in triggers]
    np.savez_compressed(
        stream,
        classes=np.array([t.target_class for t in triggers], dtype=np.int32),
        masks=np.stack([t.mask for t in triggers]),
        patterns=np.stack([t.pattern for t in triggers]),
        mask_sizes=np.array([t.mask_size for t in triggers]),
        success_rates=np.array(rates),
        censored=np.array([t.censored for t in triggers]),
    )
    return stream.getvalue()
