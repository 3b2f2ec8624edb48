"""Attacks of the user's own: a class named `module:NAME` in a zoo spec, held to what the built-in ones keep.

Only what draws an attack imports its module. Manifests are read without it, so that one of a stranger runs no code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from oracles.errors import likely, one_line
from simkit.attacks.attack import Attack
from simkit.errors import ConfigError, complaint
from simkit.references import is_reference, referred

TARGET = "target_class"
"""The field that every attack of one class has, as a draw sets it."""


def own_attack(name: str) -> type[Any]:
    """The class that `module:NAME` names. This runs the module, so it is only for names that the user typed.

    Raises ConfigError unless it is there and an attack: a frozen dataclass with `target_class`, `poison` and
    `triggered`.
    """
    thing = referred(name)
    if not isinstance(thing, type):
        raise ConfigError(f"{name} is no class; name the class of the attack, which is made anew for every victim")
    if lacks := what_lacks(thing):
        raise ConfigError(f"{name} is no attack: it has no {lacks}; see the how-to page on attacks")
    if not is_reference(own_kind(thing)):
        raise ConfigError(f"{name} is defined inside of {thing.__qualname__.rpartition('.')[0]}; move it to its module")
    return thing


def what_lacks(attack_type: type[Any]) -> str | None:
    """What the class needs to be stored and drawn like a built-in attack; None if it has everything."""
    for method in ("poison", "triggered"):
        if not callable(getattr(attack_type, method, None)):
            return f"method {method}"
    if not dataclasses.is_dataclass(attack_type) or not attack_type.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return "@dataclass(frozen=True)"
    return None if TARGET in field_names(attack_type) else f"field {TARGET}"


def own_kind(attack_type: type[Any]) -> str:
    """The kind of an attack of one's own in JSON: `module:NAME` of its class."""
    return f"{attack_type.__module__}:{attack_type.__qualname__}"


def is_own(attack: object) -> bool:
    """Whether the code of an attack is the user's, and not of this package."""
    return not type(attack).__module__.startswith(f"{__package__}.")


def field_names(attack_type: type[Any]) -> list[str]:
    """The names of an attack's fields, in order."""
    return [field.name for field in dataclasses.fields(attack_type)]


def read_own(kind: str, attack_type: type[Any], settings: Mapping[str, Any]) -> Attack:
    """The attack with these settings. Raises ConfigError in one line, whatever the class raises."""
    names = field_names(attack_type)
    if unknown := [name for name in settings if name not in names]:
        raise ConfigError(f"attack {kind}: no setting {unknown[0]!r}{likely(unknown[0], names, 'the settings are')}")
    try:
        attack: Attack = TypeAdapter(attack_type).validate_python(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"attack {kind}: {complaint(error, names)}") from error
    except Exception as error:  # the class is the user's code and may raise anything
        raise ConfigError(f"attack {kind}: {one_line(error)}; fields are plain values, or a StoredTrigger") from error
    return attack
