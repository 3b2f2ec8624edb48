"""Loads a study file with everything that it names: `StudyFile.load`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from oracles.errors import InvalidSpec
from oracles.outside import TEXT_BYTES, OutsideFile, read_outside
from simkit.errors import ConfigError
from studies.scan.canonical import digest
from studies.scan.settings_file import settings_in
from studies.study.config import DetectorEntry, StudyConfig
from studies.study.config_errors import complaint
from studies.study.grid import Cell, Places, StudyPlan, cells_of, over, plan_of
from studies.study.zoos import Zoo

_CHANGES_NO_SCAN = {"budgets", "workers", "report", "results", "ledgers"}


@dataclass(frozen=True, eq=False)
class StudyFile:
    """A study file as it was read, its settings, and its zoos in the order of the file."""

    path: Path
    source: OutsideFile
    config: StudyConfig
    zoos: tuple[Zoo, ...]

    @classmethod
    def load(cls, path: str | Path) -> StudyFile:
        """Read and check everything except the images; sends no query and writes nothing.

        Raises ConfigError in one line that names the file, the key and what to change: for a file that is no TOML,
        unknown keys, impossible values, a zoo that is missing or of another split, and settings that a detector does
        not have.
        """
        path = Path(path).absolute()
        try:
            source = read_outside(path, TEXT_BYTES)
            config = _config(source.text, path.parent)
            file = cls(path, source, config, tuple(Zoo.of(path.parent, entry, config.split) for entry in config.zoos))
            file.cells()
        except (ConfigError, InvalidSpec) as error:
            raise ConfigError(f"{path.name}: {error}") from error
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"no TOML: {error}"
            raise ConfigError(f"{path.name}: cannot be read: {reason}; see simkit study new") from error
        return file

    @property
    def results(self) -> Path:
        """The file of result lines, one per scan."""
        return self.path.parent / self.config.results

    @property
    def ledgers(self) -> Path:
        """The folder of ledgers, one per scan."""
        return self.path.parent / self.config.ledgers

    @property
    def reports(self) -> Path:
        """The folder that reports are written to."""
        return self.path.parent / self.config.report.folder

    @property
    def hash(self) -> str:
        """SHA-256 of the settings that determine the scans, without workers, reports and paths."""
        settings = self.config.model_dump(mode="json", exclude=_CHANGES_NO_SCAN)
        zoos = [{name: v for name, v in zoo.items() if (name, v) != ("served", None)} for zoo in settings["zoos"]]
        return digest(settings | {"zoos": zoos})

    def cells(self) -> tuple[Cell, ...]:
        """Each detector with each service, zoo and seed. Raises ConfigError for wrong settings."""
        return cells_of(self.config, self.zoos, Places(self.results, self.ledgers))

    def plan(self) -> StudyPlan:
        """The remaining scans, and the lines of finished ones. Reads the images; raises ConfigError, DataError."""
        cells = self.cells()
        with_images = {cell.study.zoo for cell in cells if cell.method.takes_images}
        for zoo in (zoo for zoo in self.zoos if zoo.folder in with_images):
            try:
                zoo.check_images()
            except ConfigError as error:
                raise ConfigError(f"{self.path.name}: {error}") from error
        return plan_of(cells, self.results)


def _config(text: str, folder: Path) -> StudyConfig:
    given = tomllib.loads(text)
    try:
        config = StudyConfig.model_validate(given)
        entries = tuple(_with_file(entry, folder) for entry in config.detectors)
        set_here = {name: getattr(config, name) for name in config.model_fields_set}
        return StudyConfig.model_validate(set_here | ({"detectors": entries} if entries else {}))
    except ValidationError as error:
        raise ConfigError(complaint(error, StudyConfig, given)) from None


def _with_file(entry: DetectorEntry, folder: Path) -> DetectorEntry:
    """The entry with what its settings file holds, as far as it does not set that itself. Raises ConfigError."""
    if entry.settings_file is None:
        return entry
    settings = settings_in(folder / entry.settings_file)
    preset, budget = settings.pop("preset", entry.name), settings.pop("budget", None)
    settings.pop("oracle", None)  # a study's services say who answers
    if preset != entry.name:
        raise ConfigError(f"detectors[{entry.name}]: {entry.settings_file} has settings of {preset}; set name to that")
    own = {"settings": over(settings, entry.settings), "budget": entry.budget or budget}
    return DetectorEntry.model_validate(dict(entry) | own)
