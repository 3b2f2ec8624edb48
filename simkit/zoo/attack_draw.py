"""How the backdoor of a victim is drawn: attack and settings are given; target, position and colours are random."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from simkit.attacks.attack import Attack
from simkit.attacks.own import own_attack, own_kind
from simkit.attacks.patches import (
    PatchKind,
    four_corners,
    random_patch,
    random_shape,
    scattered_pixels,
    whole_picture,
)
from simkit.attacks.registry import ATTACKS, SEVERAL, attack_from_json, check_stored
from simkit.attacks.several import Several
from simkit.attacks.trigger_json import trigger_to_json
from simkit.data.images import ImageShape
from simkit.data.load import load
from simkit.errors import ConfigError
from simkit.references import is_reference
from simkit.seeding import stream
from simkit.triggers import Trigger

Pixels = Annotated[int, Field(ge=1)]

_STAMPED = ("badnets", "blended", "label-consistent", "source-specific", SEVERAL)
_LARGEST = 2**53
"""Of the ends of a range: what a float holds exactly."""

_SIZES = {"patch": 2, "aslant": 1, "scattered": 1, "corners": 2, "image": 0, "picture": 0}


class TriggerDraw(BaseModel):
    """A trigger at a random position in random colours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["patch", "aslant", "scattered", "corners", "image", "picture"] = Field(
        default="patch",
        description="`patch`: a rectangle; `aslant`: a diagonal line; `scattered`: single pixels; `corners`: the same "
        "patch in all four corners, where only the colours are random; `image`: the whole image; `picture`: an image "
        "of `data` over the whole image.",
    )
    size: tuple[Pixels, ...] = Field(
        default=(),
        description="[height, width] of a `patch` or of each of the `corners`, [n] pixels of `aslant` and `scattered`, "
        "empty for `image` and `picture`.",
    )
    kinds: tuple[PatchKind, ...] = Field(
        default=("solid", "multi"),
        min_length=1,
        description="`solid` (one colour) or `multi` (one per pixel), drawn for each victim.",
    )
    data: str | None = Field(
        default=None,
        description="For a `picture`: images as of `simkit.data.load`, one of whose split `train` is drawn for each "
        "victim and stretched.",
    )

    @model_validator(mode="after")
    def _sized(self) -> TriggerDraw:
        if len(self.size) != _SIZES[self.shape]:
            raise ValueError(f"a trigger of shape {self.shape} needs {_SIZES[self.shape]} sizes, not {len(self.size)}")
        if (self.data is None) == (self.shape == "picture"):
            raise ValueError(f"a trigger of shape {self.shape} {'needs' if self.data is None else 'has no'} data")
        return self

    def draw(self, image_shape: ImageShape, seed: int) -> Trigger:
        """The trigger for `seed`. Raises ConfigError if it does not fit the image, DataError without the `data`."""
        if self.data is not None:
            chosen = int(stream(seed, "zoo", "picture").integers(2**31))
            return whole_picture(image_shape, load(self.data, "train", 1, chosen).pixels[0].numpy())
        kind = self.kinds[int(stream(seed, "zoo", "kind").integers(len(self.kinds)))]
        rng = stream(seed, "zoo", "trigger")
        match self.shape:
            case "patch":
                return random_patch(image_shape, self.size[0], self.size[1], kind, rng)
            case "aslant":
                return random_shape(image_shape, np.eye(self.size[0], dtype=np.bool_), kind, rng)
            case "scattered":
                return scattered_pixels(image_shape, self.size[0], kind, rng)
            case "corners":
                height, width = self.size
                corner = random_patch((image_shape[0], height, width), height, width, kind, rng)
                return four_corners(image_shape, corner.pattern)
        return random_patch(image_shape, image_shape[1], image_shape[2], kind, rng)


class AttackDraw(BaseModel):
    """An attack whose target class, trigger and source class are drawn for each victim."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(
        default="badnets",
        description="A name in `simkit.attacks.registry.ATTACKS`, or an attack of your own as `module:NAME`.",
    )
    trigger: TriggerDraw | None = Field(default=None, description="The trigger, for attacks that stamp one.")
    parts: int | None = Field(
        default=None,
        ge=2,
        description="For `several`: the number of BadNets attacks, on different classes; the drawn target comes first.",
    )
    settings: dict[str, Any] = Field(
        default={}, description='Settings of the attack, e.g. `{"alpha": 0.1}`; for `several`, of each part.'
    )
    ranges: dict[str, tuple[StrictInt, StrictInt] | tuple[float, float]] = Field(
        default={},
        description='Settings drawn for each victim, e.g. `{"amplitude": [0.05, 0.15]}`: uniformly between two '
        "numbers, from the whole numbers if both are whole, ends included.",
    )

    @model_validator(mode="after")
    def _agrees(self) -> AttackDraw:
        own = is_reference(self.kind)  # and no more of it: a manifest has a spec too, and imports no code
        if self.kind not in ATTACKS and not own:
            raise ValueError(f"no attack {self.kind!r}; choose from {', '.join(ATTACKS)}, or your own as module:NAME")
        if not own and (self.trigger is None) == (self.kind in _STAMPED):
            raise ValueError(f"attack {self.kind} {'needs a' if self.trigger is None else 'has no'} trigger")
        if (self.parts is None) == (self.kind == SEVERAL):
            raise ValueError(f"attack {self.kind} {'needs' if self.parts is None else 'has no'} parts")
        if drawn := {"kind", "target_class", "trigger", "attacks"} & {*self.settings, *self.ranges}:
            raise ValueError(
                f"settings and ranges must not have {min(drawn)!r}: it is drawn, or given outside of settings"
            )
        if twice := self.settings.keys() & self.ranges.keys():
            raise ValueError(f"{min(twice)!r} is in settings and in ranges; keep one")
        for name, (low, high) in self.ranges.items():
            if not -_LARGEST <= low <= high <= _LARGEST:
                raise ValueError(f"ranges.{name} is [{low}, {high}]; give two finite numbers, the lower one first")
        return self

    def draw(self, image_shape: ImageShape, n_classes: int, target_class: int, seed: int) -> Attack:
        """The attack on `target_class` for `seed`. An attack of the user's own is imported.

        Raises ConfigError if it does not fit the images, or if there is no such attack.
        """
        if self.parts is not None:
            return self._several(self.parts, image_shape, n_classes, target_class, seed)
        return self._single(self.kind, image_shape, n_classes, target_class, seed)

    def _single(self, kind: str, image_shape: ImageShape, n_classes: int, target_class: int, seed: int) -> Attack:
        own = own_attack(kind) if is_reference(kind) else None
        kind = kind if own is None else own_kind(own)
        fields: dict[str, Any] = {"kind": kind, "target_class": target_class} | self.settings | self._drawn(seed)
        if self.trigger is not None:
            fields["trigger"] = trigger_to_json(self.trigger.draw(image_shape, seed))
        if kind == "source-specific" and "sources" not in fields:
            others = [c for c in range(n_classes) if c != target_class]
            fields["sources"] = [int(stream(seed, "zoo", "source").choice(others))]
        if own is None:
            return attack_from_json(fields)
        attack = attack_from_json(fields, {kind: own})
        check_stored(attack)
        return attack

    def _drawn(self, seed: int) -> dict[str, int | float]:
        """The settings of `ranges` for `seed`, each from a stream of its own."""
        drawn: dict[str, int | float] = {}
        for name, (low, high) in self.ranges.items():
            rng = stream(seed, "zoo", "setting", name)
            if isinstance(low, int) and isinstance(high, int):
                drawn[name] = int(rng.integers(low, high, endpoint=True))
            else:
                drawn[name] = float(rng.uniform(low, high))
        return drawn

    def _several(self, parts: int, image_shape: ImageShape, n_classes: int, target_class: int, seed: int) -> Attack:
        if parts > n_classes:
            raise ConfigError(f"{parts} backdoors need as many classes; the images have {n_classes}")
        others = [c for c in range(n_classes) if c != target_class]
        more = stream(seed, "zoo", "targets").choice(others, size=parts - 1, replace=False)
        seeds = stream(seed, "zoo", "parts").integers(2**62, size=parts)
        drawn = [
            self._single("badnets", image_shape, n_classes, int(target), int(own))
            for target, own in zip((target_class, *more), seeds, strict=True)
        ]
        return Several(tuple(drawn))
