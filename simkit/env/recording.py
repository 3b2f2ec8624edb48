"""Recorded trajectories of a victim: every arm is run to its end once, so that any order of pulls can be replayed."""

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
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oracles.outside import ARRAYS_BYTES, read_outside, reason
from simkit.env.arms import Bench, Pulled, Row
from simkit.env.arms import Field as Column
from simkit.env.episode import Chunks
from simkit.errors import DataError, complaint
from simkit.files import write_atomically
from simkit.npz import read_arrays
from simkit.zoo.spec import ZooSplit

SUFFIX = ".arms.npz"
"""The suffix of a recording's file name."""

_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for a file that is damaged or not an archive of arrays."""


class Header(BaseModel):
    """The victim of a recording, and the truth, which is only used to score verdicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="Version of the format.")
    zoo: str = Field(description="Name of the victim's zoo.")
    split: ZooSplit = Field(description="Split of the zoo.")
    index: int = Field(description="Number of the victim in the zoo.")
    model_hash: str = Field(description="Hash of the model.")
    data_hash: str = Field(description="Hash of the images.")
    truth: Literal["clean", "backdoored"] = Field(description="The truth about the victim.")
    stratum: str = Field(description="`clean`, or the name of its patch size or attack.")
    target_classes: tuple[int, ...] = Field(description="Target classes of its backdoor.")
    settings: dict[str, Any] = Field(description="Everything that determines the arms besides model and images.")
    environment: dict[str, Any] = Field(description="Versions and platform of the recording.")
    seed: int = Field(description="Seed of the arms.")
    n_classes: int = Field(description="Number of classes.")
    check_queries: int = Field(description="Queries of the first check.")
    clean_accuracy: float = Field(description="Clean accuracy in the first check.")
    largest_chunks: tuple[int, int] = Field(description="The most queries of a chunk, see `ArmsConfig`.")

    @property
    def identity(self) -> tuple[object, ...]:
        """Everything that determines the trajectories."""
        return (
            *(self.zoo, self.index, self.model_hash, self.data_hash, self.seed),
            json.dumps(self.settings, sort_keys=True),
        )


@dataclass(frozen=True, eq=False)
class Recording:
    """The rows of every arm, float64 (K, columns), in order, the shared one last; gains (K, T) of the shared one."""

    header: Header
    arms: tuple[Row, ...]
    gains: Row

    @property
    def n_classes(self) -> int:
        """The number of classes of the victim; it has one arm more."""
        return self.header.n_classes

    @property
    def backdoored(self) -> bool:
        """The truth."""
        return self.header.truth == "backdoored"

    @property
    def queries(self) -> int:
        """The queries of the check and of all arms, each run to its end."""
        return self.header.check_queries + int(sum(rows[-1, Column.QUERIES] for rows in self.arms))

    def begin(self) -> Replayed:
        """A new episode that sends no queries."""
        return Replayed(self)

    def save(self, path: Path) -> None:
        """Write the recording atomically. Raises StorageError."""
        arrays = {f"arm{number}": rows for number, rows in enumerate(self.arms)}
        stream = io.BytesIO()
        header = np.frombuffer(self.header.model_dump_json().encode(), dtype=np.uint8)
        np.savez_compressed(stream, header=header, gains=self.gains, **arrays)  # type: ignore[arg-type]  # of numpy's stubs
        write_atomically(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read a recording. Raises DataError with a message of one line."""
        try:
            arrays = read_arrays(read_outside(path, ARRAYS_BYTES))
            header = Header.model_validate_json(arrays["header"].tobytes())
            arms = tuple(arrays[f"arm{number}"] for number in range(header.n_classes + 1))
            return cls(header, arms, arrays["gains"])
        except ValidationError as error:
            raise DataError(
                f"{path}: not a recording that this version can read: {complaint(error)}; record it again"
            ) from error
        except _DAMAGED as error:
            raise DataError(f"{path}: cannot be read ({reason(error)}); record it again") from error


class Replayed:
    """An episode on a recording; satisfies `Episode`. Each arm continues where it stopped, independent of the
    others."""

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
    """Run every arm to its end: the rows of each, and the gains of the shared one. Raises what the arms raise."""
    arms, gains = [], np.zeros((0, bench.n_classes))
    for number in range(bench.n_classes + 1):
        pulled = _to_the_end(bench, number)
        arms.append(np.stack([p.row for p in pulled]))
        gains = np.array([p.gains for p in pulled if p.gains is not None])
    return tuple(arms), gains


def _to_the_end(bench: Bench, number: int) -> list[Pulled]:
    arm = bench.arm(number)
    pulled = [arm.pull()]
    while not pulled[-1].row[Column.OVER]:
        pulled.append(arm.pull())
    return pulled


def recordings(folder: str | Path) -> list[Recording]:
    """All recordings in a folder, by name. Raises DataError if there is none, or if their class numbers differ."""
    loaded = [Recording.load(path) for path in sorted(Path(folder).glob(f"*{SUFFIX}"))]
    if not loaded:
        raise DataError(f"{folder}: no recordings in it; make some with simkit env record")
    _check_alike(str(folder), loaded)
    return loaded


def _check_alike(folder: str, loaded: Iterable[Recording]) -> None:
    classes = sorted({recording.n_classes for recording in loaded})
    if len(classes) > 1:
        raise DataError(f"{folder}: victims of {classes[0]} and of {classes[1]} classes; keep them in two folders")
