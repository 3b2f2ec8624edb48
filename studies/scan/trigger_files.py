"""Writes the triggers of a scan as files: arrays for programs, pictures for people."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db.errors import StorageError
from db.records import TriggerRow
from simkit.files import can_hold_files, make_folder, write_atomically
from simkit.transforms.families import Reader
from studies.render.order import Place, place
from studies.render.trigger_views import picture
from studies.scan.stored_triggers import NO_MORE, stored_trigger


@dataclass(frozen=True)
class TriggerFiles:
    """Trigger files. npz: the patches of all classes. json: the triggers of other families, None where there are none.
    png: the flagged classes, or if none is flagged the one that came closest.
    """

    npz: Path
    png: tuple[Path, ...]
    json: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The paths as plain values."""
        own = None if self.json is None else str(self.json)
        return {"npz": str(self.npz), "json": own, "png": [str(path) for path in self.png]}


def file_stem(name: str, key: str) -> str:
    """The name of a run's files: its model and the beginning of its key."""
    model = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem).strip("_")[:48]
    return f"{model or 'model'}-{key[:12]}"


def check_folder(folder: Path) -> None:
    """Raise StorageError unless `folder` is writable or can be created; a file is tried there, and nothing stays."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise StorageError(f"{folder}: {existing} is a file; name another folder")
    if not can_hold_files(existing):
        raise StorageError(f"{folder}: {existing} is not writable; name another folder")


def save_triggers(
    folder: Path,
    stem: str,
    flagged: Sequence[int],
    triggers: Sequence[TriggerRow],
    more: Mapping[str, Reader] = NO_MORE,
) -> TriggerFiles:
    """Write the patches as `STEM.npz`, triggers of other families as `STEM.json`, and pictures `STEM-classN.png`.

    A picture shows a flagged class. If none is flagged, the first trigger in the order of `studies.render.order` is
    written as `STEM-unflagged-classN.png`, unless all are empty.

    The archive holds classes (T,), masks (T, 1, H, W), patterns (T, C, H, W), mask_sizes, success_rates (NaN: unknown),
    censored. The JSON is a list of objects with class, strength, unit, success_rate, censored and the trigger's own
    form. Equal triggers give equal bytes. more: readers of a user's own families. Raises StorageError.
    """
    shown, prefix = [t for t in triggers if t.target_class in flagged], ""
    if not flagged:
        not_empty = (t for t in triggers if t.mask_size > 0)
        shown, prefix = sorted(not_empty, key=_place)[:1], "unflagged-"
    pictures = {folder / f"{stem}-{prefix}class{t.target_class}.png": stored_trigger(t, more) for t in shown}
    npz, others = folder / f"{stem}.npz", [t for t in triggers if t.parameters is not None]
    own = folder / f"{stem}.json" if others else None
    make_folder(folder)
    write_atomically(npz, _archive([t for t in triggers if t.parameters is None]))
    if own is not None:
        write_atomically(own, (json.dumps(list(map(_plain, others)), indent=2) + "\n").encode())
    for path, trigger in pictures.items():
        write_atomically(path, picture(trigger))
    return TriggerFiles(npz, tuple(pictures), own)


def _place(trigger: TriggerRow) -> Place:
    return place(flagged=False, censored=trigger.censored, size=trigger.mask_size, rate=trigger.success_rate)


def _plain(trigger: TriggerRow) -> dict[str, Any]:
    named = {"class": trigger.target_class, "strength": trigger.strength, "unit": trigger.unit}
    rates = {"success_rate": trigger.success_rate, "censored": trigger.censored}
    return named | rates | {"trigger": json.loads(trigger.parameters or "null")}


def _archive(triggers: Sequence[TriggerRow]) -> bytes:
    stream = io.BytesIO()
    rates = [np.nan if t.success_rate is None else t.success_rate for t in triggers]
    np.savez_compressed(
        stream,
        classes=np.array([t.target_class for t in triggers], dtype=np.int32),
        masks=np.array([t.mask for t in triggers]),
        patterns=np.array([t.pattern for t in triggers]),
        mask_sizes=np.array([t.mask_size for t in triggers]),
        success_rates=np.array(rates),
        censored=np.array([t.censored for t in triggers]),
    )
    return stream.getvalue()
