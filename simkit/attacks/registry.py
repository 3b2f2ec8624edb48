"""Attacks by name, and their conversion to and from the plain values in specs and manifests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.elastic import Elastic
from simkit.attacks.gratings import Gratings
from simkit.attacks.label_consistent import LabelConsistent
from simkit.attacks.several import Several, parts_of
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.source_specific import SourceSpecific
from simkit.attacks.trigger_json import trigger_to_json
from simkit.attacks.warping import Warping
from simkit.errors import ConfigError, complaint
from simkit.transforms.contract import ImageShape, Transform
from simkit.triggers import Trigger

SEVERAL = "several"

ATTACKS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "badnets": BadNets,
        "blended": Blended,
        "sinusoidal": Sinusoidal,
        "warping": Warping,
        "label-consistent": LabelConsistent,
        "source-specific": SourceSpecific,
        "gratings": Gratings,
        "elastic": Elastic,
        SEVERAL: Several,
    }
)
"""Every attack by its name, which is the field `kind` of its JSON."""


def attack_from_json(fields: Any) -> Attack:
    """The attack that a JSON object describes, e.g. `{"kind": "warping", "target_class": 3}`.

    fields: the parsed object; `kind` is a name in ATTACKS, the rest are the attack's own fields, which have defaults.
    Raises ConfigError with a message of one line.
    """
    if not isinstance(fields, Mapping):
        raise ConfigError(f"an attack is an object with a kind, not {type(fields).__name__}")
    own = {name: value for name, value in fields.items() if name != "kind"}
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in ATTACKS:
        raise ConfigError(f"no attack {kind!r}; choose a kind from {', '.join(ATTACKS)}")
    if kind == SEVERAL:
        return _several(own)
    try:
        attack: Attack = TypeAdapter(ATTACKS[kind]).validate_python(own)
    except ValidationError as error:
        raise ConfigError(f"attack {kind}: {complaint(error, _fields(kind))}") from error
    return attack


def attack_to_json(attack: Attack) -> dict[str, Any]:
    """The object that `attack_from_json` reads, with every field, including defaults.

    Raises ConfigError for an attack that is not in ATTACKS, or whose trigger cannot be stored exactly as plain values.
    """
    kind = _kind(attack)
    if isinstance(attack, Several):
        return {"kind": kind, "attacks": [attack_to_json(part) for part in attack.attacks]}
    return {"kind": kind} | {name: _plain(getattr(attack, name)) for name in _fields(kind)}


def target_classes(attack: Attack) -> tuple[int, ...]:
    """The classes that a detector should flag, in order. Raises ConfigError for an attack that is not in ATTACKS."""
    _kind(attack)
    if isinstance(attack, Several):
        return tuple(sorted({target for part in attack.attacks for target in target_classes(part)}))
    return (int(attack.target_class),)  # type: ignore[attr-defined]  # every other attack in ATTACKS has one


def original_trigger(attack: Attack, image_shape: ImageShape) -> Transform | None:
    """The true trigger of an attack on images (C, H, W), for pictures and for comparison with reversed triggers.

    None for `several`, whose parts each have their own trigger, and for attacks that are not in ATTACKS.
    """
    match attack:
        case Blended():
            return attack.blend
        case BadNets() | LabelConsistent() | SourceSpecific():
            return attack.trigger
        case Sinusoidal() | Gratings():
            return attack.as_waves(image_shape)
        case Warping() | Elastic():
            return attack.as_warp(image_shape)
    return None


def _kind(attack: Attack) -> str:
    for kind, attack_type in ATTACKS.items():
        if type(attack) is attack_type:
            return kind
    raise ConfigError(f"{type(attack).__name__} is not one of the attacks {', '.join(ATTACKS)}; it has no name here")


def _fields(kind: str) -> list[str]:
    return [field.name for field in dataclasses.fields(ATTACKS[kind])]


def _plain(value: Any) -> Any:
    if isinstance(value, Trigger):
        return trigger_to_json(value)
    return list(value) if isinstance(value, tuple) else value


def check_fits(attack: Attack, n_classes: int) -> None:
    """Raise ConfigError if an attack refers to a class that does not exist."""
    for part in parts_of(attack):
        wanted = {*target_classes(part), *getattr(part, "sources", ())}
        if max(wanted) >= n_classes:
            raise ConfigError(f"class {max(wanted)}, but the classes are 0 to {n_classes - 1}")


def _several(own: Mapping[str, Any]) -> Several:
    parts = own.get("attacks")
    if set(own) != {"attacks"} or not isinstance(parts, list | tuple):
        raise ConfigError(f"attack {SEVERAL}: needs a list of attacks as `attacks`, and nothing else")
    return Several(tuple(map(attack_from_json, parts)))
