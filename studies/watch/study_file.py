"""A study of detectors of probing in a TOML file: its settings, its zoos, and the zoo that sets thresholds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oracles.outside import TEXT_BYTES, read_outside, reason
from simkit.errors import ConfigError, complaint
from studies.watch.config import WatchStudy
from studies.watch.run import ZooOf


class WatchZoo(BaseModel):
    """A zoo of a study in a file; paths are relative to the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(description="The zoo's folder.")
    data: Path | None = Field(default=None, description="The images; by default those that the zoo was made from.")
    limit: int | None = Field(default=None, ge=1, description="Number of victims, the first by index; by default all.")


class _Zoos(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    zoos: tuple[WatchZoo, ...] = Field(min_length=1, description="Zoos of the split report.")
    calibrate: WatchZoo | None = Field(default=None, description="A zoo of the split calibrate.")


@dataclass(frozen=True)
class WatchFile:
    """A study file. settings: of the study, as plain values for `WatchStudy.of`, which checks them."""

    zoos: tuple[ZooOf, ...]
    calibrate: ZooOf | None
    settings: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> WatchFile:
        """Read a file. Raises ConfigError in one line that names the file."""
        try:
            given = tomllib.loads(read_outside(path, TEXT_BYTES).text)
            settings = {name: value for name, value in given.items() if name in WatchStudy.model_fields}
            found = _Zoos.model_validate({name: value for name, value in given.items() if name not in settings})
        except ValidationError as error:
            known = [*WatchStudy.model_fields, *_Zoos.model_fields]
            raise ConfigError(f"{path.name}: {complaint(error, known)}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path.name}: {reason(error)}") from error
        zoos = tuple(_placed(zoo, path.parent) for zoo in found.zoos)
        return cls(zoos, None if found.calibrate is None else _placed(found.calibrate, path.parent), settings)


def _placed(zoo: WatchZoo, base: Path) -> ZooOf:
    return ZooOf(base / zoo.folder, None if zoo.data is None else str(base / zoo.data), zoo.limit)
