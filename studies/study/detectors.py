"""The detectors that can be named in a study, and how each is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from torch import nn

from oracles.errors import likely
from oracles.oracle import Oracle
from simkit.data import ImageSet
from simkit.detectors.access import Detector, QueryAccess, QueryDataAccess, WeightAccess
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.detectors.registry import DETECTORS, Entry
from simkit.errors import ConfigError
from simkit.references import is_reference, referred
from simkit.search.presets import PRESETS, Preset
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.run_key import settings_of
from studies.scan.user_code import described, qualified_name

_SERVICE = ("budget", "oracle", "restriction")
"""Settings that do not affect a white-box detector, so they are not part of its scan's identity."""

_OF_IMAGES, _SHAPE = ("data", "image_size"), ("image_shape",)
"""Settings that do not affect a detector without images, and those that do not affect one with images."""


@dataclass(frozen=True)
class Method:
    """A detector, with its name on the command line and its title in tables.

    preset: the preset by which `studies.scan.run` scans, so that a killed scan is resumed; None for a detector that
    starts anew.
    """

    name: str
    title: str
    detector: Detector[Any]
    preset: str | Preset | None = None

    @property
    def access(self) -> type:
        """The access type that the detector takes. Raises ConfigError if it states none."""
        return access_of(self.detector)

    @property
    def white_box(self) -> bool:
        """Whether the detector reads the weights, and so sends no query."""
        return self.access is WeightAccess

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given `ScanConfig` fields that affect this detector, with its preset if it has one."""
        own = {} if self.preset is None else {"preset": self.preset}
        unused = _OF_IMAGES if self.access is QueryAccess else _SHAPE + (_SERVICE if self.white_box else ())
        return {name: value for name, value in given.items() if name not in unused} | own

    def config(self, given: Mapping[str, Any]) -> ScanConfig:
        """The config of a scan. Raises ConfigError and InvalidSpec, also for a setting that only presets have."""
        taken = {"preset"} if self.preset is not None else {"preset", "search", "driver", "rule"}
        if unused := taken & given.keys():
            raise ConfigError(f"{self.name} has no setting {min(unused)}; leave it out, or scan in a separate command")
        return ScanConfig.of(self.settings(given))

    def identity(self, config: ScanConfig) -> dict[str, Any]:
        """All settings of the scan as stored in its ledger."""
        return settings_of(config, None if self.preset is not None else described(self.detector, "detect"))


def access_of(detector: Detector[Any]) -> type:
    """The access type in the signature of `detector.detect`. Raises ConfigError if there is none."""
    taken = next(iter(get_type_hints(detector.detect).values()), None)
    kinds: list[type] = [kind for kind in (QueryAccess, QueryDataAccess, WeightAccess) if kind is taken]
    if kinds:
        return kinds[0]
    choices = "QueryAccess, QueryDataAccess or WeightAccess"
    raise ConfigError(f"{qualified_name(detector)}.detect does not state its access; annotate access: {choices}")


def methods() -> dict[str, Method]:
    """Every detector that comes with simkit, by name, in the order of the registry."""
    return {name: _registered(entry) for name, entry in DETECTORS.items()}


def _registered(entry: Entry) -> Method:
    if entry.made is None:
        return _scanned(entry.name, entry.title, PRESETS[entry.name])
    made = referred(entry.made)
    return Method(entry.name, entry.title, made() if entry.schedule is None else made[entry.schedule])


def described_methods() -> dict[str, Method]:
    """The detectors without a preset, by the canonical JSON of their description in a run's config."""
    return {canonical(described(m.detector, "detect")): m for m in methods().values() if m.preset is None}


def method(name: str) -> Method:
    """The detector of that name, or a user's own as `module:NAME`. Raises ConfigError if there is none."""
    built_in = methods()
    if name in built_in:
        return built_in[name]
    if not is_reference(name):
        names = likely(name, built_in)
        own_too = "" if names.endswith("?") else ", or your own as module:NAME"
        raise ConfigError(f"no detector {name!r}{names}{own_too}")
    own = referred(name)
    if isinstance(own, Preset):
        return _scanned(name, name, own)
    described(own, "detect")
    return Method(name, name, own)


def _scanned(name: str, title: str, preset: Preset) -> Method:
    detector = TriggerSearch(preset) if preset.synthesis is None else DataFreeSearch(preset)
    return Method(name, title, detector, preset if is_reference(name) else name)


@dataclass(frozen=True)
class AccessRow:
    """One detector. names: on the command line, several for several schedules. The flags state its access."""

    title: str
    names: tuple[str, ...]
    access: str
    weights: bool
    clean_data: bool
    queries: bool


def access_rows(methods: Iterable[Method]) -> list[AccessRow]:
    """One row per method, in order; methods whose titles differ only in brackets share a row."""
    families: dict[tuple[str, type], list[Method]] = {}
    for method in methods:
        families.setdefault((method.title.split(" (")[0], method.access), []).append(method)
    return [_row(title, access, [m.name for m in of_family]) for (title, access), of_family in families.items()]


def _row(title: str, access: type, names: list[str]) -> AccessRow:
    """A row whose flags are the fields of the access type, which is all that a detector can reach."""
    hints = get_type_hints(access)
    held = {hints[field.name] for field in fields(access)}
    return AccessRow(title, tuple(names), access.__name__, nn.Module in held, ImageSet in held, Oracle in held)
