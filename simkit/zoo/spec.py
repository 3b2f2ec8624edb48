"""What a zoo is made of, and the rule that says what its model number i is."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simkit.attacks.patches import PatchKind
from simkit.data.size import ImageSize
from simkit.errors import ConfigError, complaint
from simkit.seeding import stream
from simkit.zoo.architectures import ARCHITECTURES
from simkit.zoo.attack_draw import AttackDraw, TriggerDraw
from simkit.zoo.train_config import TrainConfig

ZooSplit: TypeAlias = Literal["tune", "calibrate", "report"]

CLEAN = "clean"
"""The stratum of the victims without a backdoor; the others are named after their patch, e.g. `2x2`."""

SEEDS_A_SPLIT = 1_000_000
"""How many models may draw from one split of one seed before the ranges would overlap."""

_SPLITS: tuple[ZooSplit, ...] = ("tune", "calibrate", "report")


class ZooSpec(BaseModel):
    """A zoo: so many victims, a share of them clean, the others in equal parts for each patch size and further attack.

    name: letters, digits, - and _. data: see `simkit.data.load`; train on `train`, judge implants on `test`.
    image_size: (height, width) that image files are stretched to; one number for both, None for as they are.
    split: settings are chosen on `tune`, thresholds on `calibrate`, figures quoted on `report`; their seeds are
    disjoint, for every `seed`. models: victims in the end. architectures: names in ARCHITECTURES, drawn for each model.
    clean_share: of the models, in [0, 1]. sizes: sides of the square BadNets patches, pixels. kinds: of patches, drawn
    for each model. rate: see `BadNets`. attacks: further strata by name, each an `AttackDraw`. train: see
    `TrainConfig`. train_of: in its place for an architecture; its train_images must be left out. required_success: an
    implant below it on held-out images is listed and replaced. held_out: judge on so many test images; None takes all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    data: Annotated[str, Field(min_length=1)]
    image_size: ImageSize | None = None
    split: ZooSplit
    models: Annotated[int, Field(ge=1, le=100_000)]
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    architectures: Annotated[tuple[str, ...], Field(min_length=1)] = ("conv4",)
    clean_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3)
    kinds: Annotated[tuple[PatchKind, ...], Field(min_length=1)] = ("solid", "multi")
    rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    attacks: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")], AttackDraw] = {}
    train: TrainConfig = TrainConfig()
    train_of: dict[str, TrainConfig] = {}
    required_success: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    held_out: Annotated[int, Field(ge=1)] | None = 2000

    @model_validator(mode="after")
    def _agrees(self) -> ZooSpec:
        unknown = [name for name in (*self.architectures, *self.train_of) if name not in ARCHITECTURES]
        if unknown:
            raise ValueError(f"no architecture {unknown[0]!r}; choose from {', '.join(ARCHITECTURES)}")
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError(f"sizes {self.sizes} name one size twice")
        if both := {CLEAN, *map(_square, self.sizes)} & self.attacks.keys():
            raise ValueError(f"attacks: {min(both)!r} is a stratum already; choose another name")
        if any(train.train_images is not None for train in self.train_of.values()):
            raise ValueError("train_of: train_images is one for all; set it in train")
        if not self.draws() and self.quotas()[CLEAN] < self.models:
            raise ValueError("no sizes or attacks for the backdoored models; name some, or set clean_share to 1")
        return self

    @classmethod
    def of(cls, fields: dict[str, Any]) -> ZooSpec:
        """A spec from plain values. Raises ConfigError in one line."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(f"zoo spec: {complaint(error)}") from error

    @classmethod
    def load(cls, path: str | Path) -> ZooSpec:
        """A spec from a `.toml` or `.json` file. Raises ConfigError in one line."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            fields = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            return cls.of(fields)
        except (OSError, ValueError) as error:  # both parsers raise kinds of ValueError, and so is ConfigError
            raise ConfigError(f"{path}: {error}") from error

    def draws(self) -> dict[str, AttackDraw]:
        """How the attack of each stratum but the clean one is drawn."""
        patches = {_square(size): self._patch(size) for size in self.sizes}
        return patches | self.attacks

    def training(self, architecture: str) -> TrainConfig:
        """How victims of this architecture are trained."""
        return self.train_of.get(architecture, self.train)

    def quotas(self) -> dict[str, int]:
        """How many victims each stratum gets; they add up to `models`, the first take what does not divide."""
        clean, strata = int(self.clean_share * self.models + 0.5), self.draws()
        if not strata:
            return {CLEAN: clean}
        each, more = divmod(self.models - clean, len(strata))
        return {CLEAN: clean} | {name: each + (i < more) for i, name in enumerate(strata)}

    def stratum(self, index: int) -> str:
        """The stratum of model `index`: the quotas in a shuffled order, anew for each `models` indices."""
        block, place = divmod(index, self.models)
        return self._order(block)[place]

    def target_class(self, index: int, n_classes: int) -> int:
        """The target of model `index`: those of its stratum take turns through the classes, each time in a new order.

        Failed implants are replaced by later models of the stratum, whose turns differ: even but for those.
        """
        block, place = divmod(index, self.models)
        order = self._order(block)
        turn = block * self.quotas()[order[place]] + order[:place].count(order[place])
        through, position = divmod(turn, n_classes)
        rng = stream(self.first_seed, "zoo", "targets", order[place], through)
        return int(rng.permutation(n_classes)[position])

    def _order(self, block: int) -> list[str]:
        places = [name for name, quota in self.quotas().items() for _ in range(quota)]
        return [places[i] for i in stream(self.first_seed, "zoo", "strata", block).permutation(self.models)]

    def _patch(self, size: int) -> AttackDraw:
        trigger = TriggerDraw(shape="patch", size=(size, size), kinds=self.kinds)
        return AttackDraw(trigger=trigger, settings={"rate": self.rate})

    @property
    def first_seed(self) -> int:
        """The first of this split's SEEDS_A_SPLIT seeds."""
        return (self.seed * len(_SPLITS) + _SPLITS.index(self.split)) * SEEDS_A_SPLIT

    def model_seed(self, index: int) -> int:
        """The seed that everything drawn for model `index` comes from."""
        if not 0 <= index < SEEDS_A_SPLIT:
            raise ConfigError(f"no seed for model {index}; a split has {SEEDS_A_SPLIT}")
        return self.first_seed + index


def _square(size: int) -> str:
    return f"{size}x{size}"
