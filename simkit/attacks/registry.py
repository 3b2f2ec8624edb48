"""Attacks by name, and their conversion to and from the plain values in specs and manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.elastic import Elastic
from simkit.attacks.gratings import Gratings
from simkit.attacks.input_aware import InputAware
from simkit.attacks.label_consistent import LabelConsistent
from simkit.attacks.own import field_names, own_kind, read_own, what_lacks
from simkit.attacks.several import Several, parts_of
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.source_specific import SourceSpecific
from simkit.attacks.trigger_json import trigger_to_json
from simkit.attacks.warping import Warping
from simkit.errors import ConfigError, complaint
from simkit.references import is_reference
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
        "input-aware": InputAware,
        SEVERAL: Several,
    }
)
"""Every attack by its name, which is the field `kind` of its JSON."""


def attack_from_json(fields: Any, own: Mapping[str, type[Any]] = MappingProxyType({})) -> Attack:
    """The attack that a JSON object describes, e.g. `{"kind": "warping", "target_class": 3}`.

    fields: the parsed object; `kind` is a name in ATTACKS, the rest are the attack's own fields, which have defaults.
    own: classes of the user's own by their kind, `module:NAME`; no module is imported for a name in a file. Raises
    ConfigError with a message of one line.
    """
    if not isinstance(fields, Mapping):
        raise ConfigError(f"an attack is an object with a kind, not {type(fields).__name__}")
    settings = {name: value for name, value in fields.items() if name != "kind"}
    kind = fields.get("kind")
    if isinstance(kind, str) and kind in own:
        return read_own(kind, own[kind], settings)
    if not isinstance(kind, str) or kind not in ATTACKS:
        raise ConfigError(_no_attack(kind))
    if kind == SEVERAL:
        return _several(settings, own)
    try:
        attack: Attack = TypeAdapter(ATTACKS[kind]).validate_python(settings)
    except ValidationError as error:
        raise ConfigError(f"attack {kind}: {complaint(error, field_names(ATTACKS[kind]))}") from error
    return attack


def attack_to_json(attack: Attack) -> dict[str, Any]:
    """The object that `attack_from_json` reads, with every field, including defaults.

    The kind of an attack of one's own is `module:NAME`. Raises ConfigError for anything that is neither in ATTACKS nor
    a frozen dataclass with a target class, or whose trigger cannot be stored exactly as plain values.
    """
    kind = _kind(attack)
    if isinstance(attack, Several):
        return {"kind": kind, "attacks": [attack_to_json(part) for part in attack.attacks]}
    return {"kind": kind} | {name: _plain(getattr(attack, name)) for name in field_names(type(attack))}


def target_classes(attack: Attack) -> tuple[int, ...]:
    """The classes that a detector should flag, in order. Raises ConfigError as `attack_to_json`."""
    _kind(attack)
    if isinstance(attack, Several):
        return tuple(sorted({target for part in attack.attacks for target in target_classes(part)}))
    return (int(attack.target_class),)  # type: ignore[attr-defined]  # every other attack has one


def original_trigger(attack: Attack, image_shape: ImageShape) -> Transform | None:
    """The true trigger of an attack on images (C, H, W), for pictures and for comparison with reversed triggers.

    None for `several`, whose parts each have their own trigger, for `input-aware`, whose every image has its own, and
    for attacks that are not in ATTACKS.
    """
    match attack:
        case Blended():
            return attack.seen
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
    if lacks := what_lacks(type(attack)):
        name = type(attack).__name__
        raise ConfigError(f"{name} is not one of the attacks {', '.join(ATTACKS)}, and it has no {lacks}")
    return own_kind(type(attack))


def _no_attack(kind: Any) -> str:
    if isinstance(kind, str) and is_reference(kind):
        return f"attack {kind} is somebody's own code, which no file makes simkit import; pass its class in `own`"
    return f"no attack {kind!r}; choose a kind from {', '.join(ATTACKS)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Trigger):
        return trigger_to_json(value)
    return list(value) if isinstance(value, tuple) else value


def check_fits(attack: Attack, n_classes: int) -> None:
    """Raise ConfigError if an attack refers to a class that does not exist."""
    for part in parts_of(attack):
        wanted = {*target_classes(part), *_sources(part)}
        if max(wanted) >= n_classes:
            raise ConfigError(f"class {max(wanted)}, but the classes are 0 to {n_classes - 1}")


def _sources(attack: Attack) -> tuple[int, ...]:
    """The source classes that it names. An attack of the user's own may have a field of that name with any value."""
    named = getattr(attack, "sources", ())
    return named if isinstance(named, tuple) and all(isinstance(source, int) for source in named) else ()


def check_stored(attack: Attack) -> None:
    """Raise ConfigError unless the attack's JSON makes an equal attack again, as a manifest has to."""
    fields = attack_to_json(attack)
    try:
        text = json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"attack {fields['kind']} cannot be stored: {error}; use plain values") from error
    again = attack_to_json(attack_from_json(json.loads(text), {fields["kind"]: type(attack)}))
    if json.dumps(again) != text:
        raise ConfigError(
            f"attack {fields['kind']}: its fields are not those that it was made of; store what was given"
        )


def _several(settings: Mapping[str, Any], own: Mapping[str, type[Any]]) -> Several:
    parts = settings.get("attacks")
    if set(settings) != {"attacks"} or not isinstance(parts, list | tuple):
        raise ConfigError(f"attack {SEVERAL}: needs a list of attacks as `attacks`, and nothing else")
    return Several(tuple(attack_from_json(part, own) for part in parts))
