"""The detectors that can be named in a study, and how each is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from oracles.errors import likely
from simkit.data import ImageSet
from simkit.detectors.access import ACCESS_TYPES, Detector, TrainingSet, held, stated_access
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
        return nn.Module in held(self.access)

    @property
    def takes_images(self) -> bool:
        """Whether the detector is given images, clean ones or those of the training."""
        return bool({ImageSet, TrainingSet} & held(self.access))

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given `ScanConfig` fields that affect this detector, with its preset if it has one."""
        own = {} if self.preset is None else {"preset": self.preset}
        unused = (_SHAPE if self.takes_images else _OF_IMAGES) + (_SERVICE if self.white_box else ())
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
    taken = stated_access(detector.detect)
    if taken is not None:
        return taken
    *others, last = (kind.__name__ for kind in ACCESS_TYPES)
    choices = f"{', '.join(others)} or {last}"
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
