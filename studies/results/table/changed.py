"""The settings of a method that are not the defaults of its preset or detector, or that set it apart from others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from oracles.spec import OracleSpec
from simkit.detectors.registry import current_name
from simkit.search.driver import DriverConfig
from simkit.search.presets import PRESETS
from studies.results.table.records import Key
from studies.scan.config import ScanConfig
from studies.scan.overrides import leaves
from studies.scan.user_code import described, qualified_name
from studies.study.detectors import Method as DetectorMethod
from studies.study.detectors import methods
from studies.study.result_line import BY_VICTIM, ResultLine

_NO_SETTINGS = ("budget", "oracle", "preset")
"""Entries of a config that a method states elsewhere: its budget, its service and its name."""

_DIGITS = 20
"""Digits of the largest seed, of 64 bits; Python refuses to read a number of thousands of them."""

_NONE = "null"
"""A setting that is not set, as one that did not exist yet."""

_OF_THE_ZOO = ("image_size", "image_shape")
"""Entries of a config that say what images the victims take; listed only where methods differ in them."""


def changed(firsts: Mapping[Key, ResultLine]) -> dict[Key, tuple[tuple[str, str], ...]]:
    """For each method, the settings that differ from the defaults of its preset or detector, as they are today.

    A setting that another method with the same detector changed is listed too, so that rows can be compared; what a
    preset itself chooses for a kind of answer is not. A setting that a detector of simkit does not have today, as of a
    former stage, is listed; one of a user's own detector, whose defaults are unknown, where it differs between methods.
    """
    settings = {key: _settings(line.config) for key, line in firsts.items()}
    defaults = {key: _settings(_defaults(line)) for key, line in firsts.items()}
    not_default = {key: set(_not_default(own, defaults[key], firsts[key])) for key, own in settings.items()}
    listed = {}
    for key, own in settings.items():
        others = [other for other in settings if other[0] == key[0]]
        touched = {name for other in others for name in not_default[other]}
        differing = {name for name, value in own.items() if any(settings[o].get(name) != value for o in others)}
        names = not_default[key] | (differing & touched) | (differing - defaults[key].keys())
        listed[key] = tuple((name, value) for name, value in own.items() if name in names)
    return listed


_NO_CHOICE = ("device", "seed")
"""Last parts of the names of settings that make no other method: where it ran, and repetitions."""


def has_defaults(line: ResultLine) -> bool:
    """Whether the detector is one of simkit, with the settings that it has today if nothing is set.

    Budget, service, seed, device and the size of images may be any.
    """
    if _ours(line) is None:
        return False
    own, default = _settings(line.config), _settings(_defaults(line))
    names = {name for name in (*own, *default) if name.split(".")[-1] not in _NO_CHOICE}
    return all(own.get(name, _NONE) == default.get(name, _NONE) for name in names - set(_OF_THE_ZOO))


def lacking(line: ResultLine) -> tuple[str, ...]:
    """The settings of a detector of simkit that a line does not have, and that are set today, by dotted name."""
    if _ours(line) is None:
        return ()
    own = _settings(line.config)
    given = {name: value for name, value in _settings(_defaults(line)).items() if value != _NONE}
    return tuple(name for name in given if name not in own and name not in _OF_THE_ZOO)


def _not_default(own: Mapping[str, str], default: Mapping[str, str], line: ResultLine) -> Iterator[str]:
    """The settings that have another default today, or none although the detector is one of simkit."""
    absent = _NONE if _ours(line) is not None else None
    for name, value in own.items():
        if name not in _OF_THE_ZOO and default.get(name, absent or value) != value:
            yield name


def _ours(line: ResultLine) -> DetectorMethod | None:
    return methods().get(current_name(str(line.config.get("preset", line.detector))))


def _defaults(line: ResultLine) -> dict[str, Any]:
    """The config of a scan with nothing set; of a user's own preset or detector what is known of its classes."""
    oracle = line.config.get("oracle")
    label_only = isinstance(oracle, Mapping) and oracle.get("label_only") is True
    given = {"oracle": OracleSpec(label_only=label_only)}
    known = _ours(line)
    if known is not None:
        return known.identity(known.config({} if known.white_box else given))
    return ScanConfig.of(given).service() | {"search": _of_class(line.config), "driver": asdict(DriverConfig())}


def _of_class(config: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of the class of a search that comes with simkit; none for a user's own class."""
    search = config.get("search")
    kind = search.get("kind") if isinstance(search, Mapping) else None
    ours = {qualified_name(preset.search): type(preset.search) for preset in PRESETS.values()}
    return described(ours[kind](), "search") if kind in ours else {}


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    rest = {name: value for name, value in config.items() if name not in _NO_SETTINGS}
    base, by_victim, rest_of_it = str(rest.get("seed")).partition(BY_VICTIM)  # as studies draw if nothing is set
    if by_victim and not rest_of_it and base.isdecimal() and len(base) <= _DIGITS:
        rest["seed"] = int(base)
    return {name: json.dumps(value) for name, value in leaves(_numbered(rest))}


def _numbered(value: Any) -> Any:
    """The value with lists of tables as tables by number from 1, so that every setting inside has a name."""
    if isinstance(value, Mapping):
        return {name: _numbered(held) for name, held in value.items()}
    if isinstance(value, list) and value and all(isinstance(held, Mapping) for held in value):
        return {str(number): _numbered(held) for number, held in enumerate(value, start=1)}
    return value
