"""Messages for a search setting that a preset does not have: the presets that have it, or the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

from simkit.errors import ConfigError
from simkit.search.presets import PRESETS

_SYMBOLS: Mapping[str, str] = MappingProxyType(
    {"lambda": "sparsity.weight", "k": "samples", "theta_m": "mask_init", "theta": "mask_init"}
)
"""Symbols of the slides that are no name of a setting, with the setting that each one denotes."""


def check_search_names(settings: Mapping[str, Any], search: Any) -> None:
    """Raise ConfigError unless every name in `settings` is a field of `search`, the settings of a preset's search.

    The message names other presets that have the setting, or the closest name of a setting for a misspelt one.
    """
    own = _names(search)
    for name in settings:
        if name not in own:
            raise ConfigError(f"search has no setting {name!r}{_advice(name, own)}")


def check_not_of_a_search(settings: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ConfigError where a search's setting is given without `search.`. known: the settings of a scan."""
    for name in settings:
        if name not in known and (_presets_with(name) or name in _SYMBOLS):
            raise ConfigError(f"scan: no setting {name!r}; did you mean 'search.{_SYMBOLS.get(name, name)}'?")
        if name in known or difflib.get_close_matches(name, known, n=1):
            continue
        if close := difflib.get_close_matches(name, _everywhere(), n=3):
            meant = " or ".join(f"'search.{other}'" for other in close)
            raise ConfigError(f"scan: no setting {name!r}; did you mean {meant}?")


def _advice(name: str, own: tuple[str, ...]) -> str:
    if (meant := _SYMBOLS.get(name)) is not None:
        return f"; {name} of the slides is search.{meant}{_where(meant.partition('.')[0], own)}"
    if _presets_with(name):
        return f" in this preset{_where(name, own)}"
    if (group := _group_of(name)) is not None:
        return f"; it is search.{group}.{name}{_where(group, own)}"
    close = difflib.get_close_matches(name, own, n=1)
    others = [other for other in difflib.get_close_matches(name, _everywhere(), n=2) if other not in own]
    if close and others:  # as near as a setting of this preset: both are said
        return f"; did you mean {close[0]!r}, or {others[0]!r}{_where(others[0], own)}"
    if close or others:
        meant = (*close, *others)[0]
        return f"; did you mean {meant!r}{_where(meant, own) or '?'}"
    return f"; it has {', '.join(own)}"


def _where(name: str, own: tuple[str, ...]) -> str:
    """The presets that have the setting, in words; empty where this preset has it."""
    presets = _presets_with(name)
    if name in own or not presets:
        return ""
    return f"; {name} is a setting of {', '.join(presets)}: choose one of these, as in --preset {presets[0]}"


def _presets_with(name: str) -> list[str]:
    """The presets whose first search has the setting; `b3d` before its variants."""
    return sorted((preset for preset, chosen in PRESETS.items() if name in _names(chosen.search)), key=len)


def _group_of(name: str) -> str | None:
    """The group of settings of some preset's search, such as `sparsity`, that has the setting; None if none has."""
    for preset in PRESETS.values():
        for place in _names(preset.search):
            group = getattr(preset.search, place)
            if is_dataclass(group) and name in _names(group):
                return place
    return None


def _everywhere() -> list[str]:
    """The settings of the first searches of all presets."""
    return list(dict.fromkeys(field for preset in PRESETS.values() for field in _names(preset.search)))


def _names(search: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(search))
