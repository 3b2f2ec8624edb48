"""A victim's trajectories: every arm to its end, recorded once, so that any order of pulling them can be replayed."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from simkit.env.arms import Bench, Field, Pulled, Row
from simkit.env.episode import Chunks
from simkit.errors import DataError, complaint
from simkit.files import write_atomically
from simkit.zoo.spec import ZooSplit

SUFFIX = ".arms.npz"
"""How the file of a recording is called at its end."""

_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for a file that is no archive of arrays, or not whole."""


class Header(BaseModel):
    """Whose trajectories these are, and the truth, which scores a verdict and nothing else sees.

    format: another one where this version would misread the file. settings: all that determines the arms besides model
    and images. check_queries, clean_accuracy: of the first look at clean images. largest_chunks: see `ArmsConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    zoo: str
    split: ZooSplit
    index: int
    model_hash: str
    data_hash: str
    truth: Literal["clean", "backdoored"]
    stratum: str
    target_classes: tuple[int, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]
    seed: int
    n_classes: int
    check_queries: int
    clean_accuracy: float
    largest_chunks: tuple[int, int]

    @property
    def identity(self) -> tuple[object, ...]:
        """What the trajectories are a function of."""
        return (
            *(self.zoo, self.index, self.model_hash, self.data_hash, self.seed),
            json.dumps(self.settings, sort_keys=True),
        )


@dataclass(frozen=True, eq=False)
class Recording:
    """The rows of every arm, float64 (K, len(Field)), in order; those of the shared one last, with gains (K, T)."""

    header: Header
    arms: tuple[Row, ...]
    gains: Row

    @property
    def n_classes(self) -> int:
        """Of the victim; its arms are one more."""
        return self.header.n_classes

    @property
    def backdoored(self) -> bool:
        """The truth."""
        return self.header.truth == "backdoored"

    @property
    def queries(self) -> int:
        """Of the check and all arms, each to its end."""
        return self.header.check_queries + int(sum(rows[-1, Field.QUERIES] for rows in self.arms))

    def begin(self) -> Replayed:
        """A fresh episode that asks nobody."""
        return Replayed(self)

    def save(self, path: Path) -> None:
        """Write it whole or not at all. Raises StorageError."""
        arrays = {f"arm{number}": rows for number, rows in enumerate(self.arms)}
        stream = io.BytesIO()
        header = np.frombuffer(self.header.model_dump_json().encode(), dtype=np.uint8)
        np.savez_compressed(stream, header=header, gains=self.gains, **arrays)  # type: ignore[arg-type]  # of numpy's stubs
        write_atomically(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Raises DataError in one line."""
        try:
            with np.load(path, allow_pickle=False) as file:
                header = Header.model_validate_json(file["header"].tobytes())
                arms = tuple(file[f"arm{number}"] for number in range(header.n_classes + 1))
                return cls(header, arms, file["gains"])
        except ValidationError as error:
            raise DataError(f"{path}: no recording this version reads: {complaint(error)}; record it again") from error
        except _DAMAGED as error:
            raise DataError(f"{path}: cannot be read ({error}); record it again") from error


class Replayed:
    """An episode on a recording; satisfies `Episode`. Each arm goes on where it stands, whatever the others did."""

    def __init__(self, recording: Recording) -> None:
        self._recording, header = recording, recording.header
        self._next = [0] * len(recording.arms)
        self.backdoored = recording.backdoored
        self.name = f"{header.zoo}-{header.index}"
        self.check_queries, self.clean_accuracy = header.check_queries, header.clean_accuracy
        self.chunks = Chunks(*header.largest_chunks)

    def pull(self, arm: int) -> Pulled:
        """See `Episode.pull`."""
        at, rows = self._next[arm], self._recording.arms[arm]
        self._next[arm] += 1
        return Pulled(rows[at], self._recording.gains[at] if arm == self._recording.n_classes else None)


def record(bench: Bench) -> tuple[tuple[Row, ...], Row]:
    """Pull every arm to its end: rows of each, and the gains of the shared one. Raises what the arms raise."""
    arms, gains = [], np.zeros((0, bench.n_classes))
    for number in range(bench.n_classes + 1):
        pulled = _to_the_end(bench, number)
        arms.append(np.stack([p.row for p in pulled]))
        gains = np.array([p.gains for p in pulled if p.gains is not None])
    return tuple(arms), gains


def _to_the_end(bench: Bench, number: int) -> list[Pulled]:
    arm = bench.arm(number)
    pulled = [arm.pull()]
    while not pulled[-1].row[Field.OVER]:
        pulled.append(arm.pull())
    return pulled


def recordings(folder: str | Path) -> list[Recording]:
    """All recordings in a folder, by name. Raises DataError where there is none, or they differ in their classes."""
    found = [Recording.load(path) for path in sorted(Path(folder).glob(f"*{SUFFIX}"))]
    if not found:
        raise DataError(f"{folder}: no recordings in it; make some with simkit env record")
    _check_alike(str(folder), found)
    return found


def _check_alike(folder: str, found: Iterable[Recording]) -> None:
    classes = sorted({recording.n_classes for recording in found})
    if len(classes) > 1:
        raise DataError(f"{folder}: victims of {classes[0]} and of {classes[1]} classes; keep them in two folders")
