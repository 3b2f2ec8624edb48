"""The detectors that a study knows by name, and how each is run."""

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
from simkit.search.presets import PRESETS, Preset
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.run_key import settings_of
from studies.scan.user_code import described, is_reference, qualified_name, referred

_SERVICE = ("budget", "oracle", "restriction")
"""What a white box has no use for, so that it makes no difference to which scan is which."""

_OF_IMAGES, _SHAPE = ("data", "image_size"), ("image_shape",)
"""What has no use for a detector without images, and for one with them."""


@dataclass(frozen=True)
class Method:
    """A detector by its name on the command line and its title in tables.

    preset: how `studies.scan.run` runs it, so that a killed scan goes on; None for a detector that begins anew.
    """

    name: str
    title: str
    detector: Detector[Any]
    preset: str | Preset | None = None

    @property
    def access(self) -> type:
        """The access type that it takes. Raises ConfigError if it names none."""
        return access_of(self.detector)

    @property
    def white_box(self) -> bool:
        """Whether it sees the weights, and so asks nothing."""
        return self.access is WeightAccess

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of the `ScanConfig` fields given, those that concern this detector; with its preset, if it has one."""
        own = {} if self.preset is None else {"preset": self.preset}
        unused = _OF_IMAGES if self.access is QueryAccess else _SHAPE + (_SERVICE if self.white_box else ())
        return {name: value for name, value in given.items() if name not in unused} | own

    def config(self, given: Mapping[str, Any]) -> ScanConfig:
        """The scan's config. Raises ConfigError, InvalidSpec, also on a setting that only a preset has."""
        taken = {"preset"} if self.preset is not None else {"preset", "search", "driver", "rule"}
        if unused := taken & given.keys():
            raise ConfigError(f"{self.name} has no setting {min(unused)}; leave it out, or to a command of its own")
        return ScanConfig.of(self.settings(given))

    def identity(self, config: ScanConfig) -> dict[str, Any]:
        """All its settings as its ledger says them."""
        return settings_of(config, None if self.preset is not None else described(self.detector, "detect"))


def access_of(detector: Detector[Any]) -> type:
    """The access type in the signature of `detector.detect`. Raises ConfigError if there is none."""
    taken = next(iter(get_type_hints(detector.detect).values()), None)
    kinds: list[type] = [kind for kind in (QueryAccess, QueryDataAccess, WeightAccess) if kind is taken]
    if kinds:
        return kinds[0]
    known = "QueryAccess, QueryDataAccess or WeightAccess"
    raise ConfigError(f"{qualified_name(detector)}.detect does not say what it takes; annotate access: {known}")


def methods() -> dict[str, Method]:
    """Every detector that comes with simkit, by name, in the order of the registry."""
    return {name: _registered(entry) for name, entry in DETECTORS.items()}


def _registered(entry: Entry) -> Method:
    if entry.made is None:
        return _scanned(entry.name, entry.title, PRESETS[entry.name])
    made = referred(entry.made)
    return Method(entry.name, entry.title, made() if entry.schedule is None else made[entry.schedule])


def described_methods() -> dict[str, Method]:
    """The detectors without a preset, by what a run's config says of them, as canonical JSON."""
    return {canonical(described(m.detector, "detect")): m for m in methods().values() if m.preset is None}


def method(name: str) -> Method:
    """The detector of that name, or one of the user's own, `module:NAME`. Raises ConfigError if there is none."""
    known = methods()
    if name in known:
        return known[name]
    if not is_reference(name):
        names = likely(name, known)
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
    """One detector. names: on the command line, where it has more than one schedule. The flags: what it may reach."""

    title: str
    names: tuple[str, ...]
    access: str
    weights: bool
    clean_data: bool
    queries: bool


def access_rows(methods: Iterable[Method]) -> list[AccessRow]:
    """A row a method, in order; those of one title but for what stands in brackets share a row."""
    families: dict[tuple[str, type], list[Method]] = {}
    for method in methods:
        families.setdefault((method.title.split(" (")[0], method.access), []).append(method)
    return [_row(title, access, [m.name for m in of_family]) for (title, access), of_family in families.items()]


def _row(title: str, access: type, names: list[str]) -> AccessRow:
    """The flags are the fields of the access type: what is not in it, a detector cannot reach."""
    hints = get_type_hints(access)
    held = {hints[field.name] for field in fields(access)}
    return AccessRow(title, tuple(names), access.__name__, nn.Module in held, ImageSet in held, Oracle in held)
