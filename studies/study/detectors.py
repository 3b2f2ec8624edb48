"""The detectors that a study knows by name, and how each is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from torch import nn

from oracles.oracle import Oracle
from simkit.data import ImageSet
from simkit.detectors.access import Detector, QueryAccess, QueryDataAccess, WeightAccess
from simkit.detectors.blackbox.aeva import Aeva
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.detectors.blackbox.k_arm import KArm
from simkit.detectors.blackbox.label_noise import LabelNoise
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.detectors.whitebox import neural_cleanse, tabor
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
    """Every detector that comes with simkit, by name, in the order of the titles."""
    detectors: dict[str, Detector[Any]] = {"label-noise": LabelNoise(), "k-arm": KArm(), "aeva": Aeva()}
    detectors |= {f"neural-cleanse-{schedule}": detector for schedule, detector in neural_cleanse.PRESETS.items()}
    detectors |= {f"tabor-{schedule}": detector for schedule, detector in tabor.PRESETS.items()}
    every = [Method(name, TITLES.get(name, name), detector) for name, detector in detectors.items()]
    every += [_scanned(name, TITLES.get(name, name), preset) for name, preset in PRESETS.items()]
    ranks = {name: rank for rank, name in enumerate(TITLES)}
    return {method.name: method for method in sorted(every, key=lambda method: ranks.get(method.name, len(ranks)))}


def described_methods() -> dict[str, Method]:
    """The detectors without a preset, by what a run's config says of them, as canonical JSON."""
    return {canonical(described(m.detector, "detect")): m for m in methods().values() if m.preset is None}


def method(name: str) -> Method:
    """The detector of that name, or one of the user's own, `module:NAME`. Raises ConfigError if there is none."""
    known = methods()
    if name in known:
        return known[name]
    if not is_reference(name):
        raise ConfigError(f"no detector {name!r}; choose from {', '.join(known)}, or your own as module:NAME")
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


TITLES: Mapping[str, str] = MappingProxyType(
    {
        "neural-cleanse-reference": "Neural Cleanse (reference)",
        "neural-cleanse-quick": "Neural Cleanse (quick)",
        "tabor-reference": "TABOR (reference)",
        "tabor-quick": "TABOR (quick)",
        "auto": "Race, then B3D",
        "race": "Race of patches",
        "race-wide": "Race of large patches",
        "b3d": "B3D",
        "b3d-slides": "B3D (as its slides print it)",
        "b3d-ss": "B3D-SS",
        "random-patch": "Random patches",
        "annealing": "Annealing (DeBackdoor-like)",
        "label-noise": "Label noise (CBD-like)",
        "aeva": "AEVA (for labels)",
        "k-arm": "K-Arm's pre-screen",
    }
)
"""By the name on the command line; a detector that is not here goes by its name."""
