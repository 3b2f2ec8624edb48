"""The specification of a zoo, and the rule that determines its model number i."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oracles.outside import TEXT_BYTES, read_outside, reason
from simkit.attacks.patches import PatchKind
from simkit.data.size import ImageSize
from simkit.errors import ConfigError, complaint
from simkit.seeding import stream
from simkit.zoo.architectures import ARCHITECTURES
from simkit.zoo.attack_draw import AttackDraw, TriggerDraw
from simkit.zoo.train_config import TrainConfig

ZooSplit: TypeAlias = Literal["tune", "calibrate", "report"]

CLEAN = "clean"
"""The stratum of victims without a backdoor; the others are named after their patch, e.g. `2x2`."""

SEEDS_A_SPLIT = 1_000_000
"""Number of seeds per split, so that the seed ranges of splits do not overlap."""

_SPLITS: tuple[ZooSplit, ...] = ("tune", "calibrate", "report")


class ZooSpec(BaseModel):
    """A zoo of victims: a share of them is clean, the others are split evenly over patch sizes and further attacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the zoo, of letters, digits, hyphens and underscores."
    )
    data: str = Field(
        min_length=1,
        description="Images, see `simkit.data.load`: `train` for training, `test` for measuring accuracy and ASR.",
    )
    image_size: ImageSize | None = Field(
        default=None,
        description="(height, width) to which images are stretched; one number for both; None keeps their size.",
    )
    split: ZooSplit = Field(
        description="`tune` for choosing settings, `calibrate` for thresholds, `report` for published figures; their "
        "seeds are disjoint for every `seed`.",
    )
    models: int = Field(ge=1, le=100_000, description="Number of victims.")
    seed: int = Field(default=0, ge=0, le=2**31, description="Seed of the zoo.")
    architectures: tuple[str, ...] = Field(
        default=("conv4",), min_length=1, description="Names in ARCHITECTURES, one of which is drawn for each victim."
    )
    clean_share: float = Field(default=0.25, ge=0.0, le=1.0, description="Share of clean victims, in [0, 1].")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 2, 3), description="Sides of the square BadNets patches, in pixels."
    )
    kinds: tuple[PatchKind, ...] = Field(
        default=("solid", "multi"), min_length=1, description="Kinds of patches, one of which is drawn for each victim."
    )
    rate: float = Field(default=0.1, gt=0.0, le=1.0, description="Poisoning rate, see `BadNets`.")
    attacks: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")], AttackDraw] = Field(
        default={}, description="Further strata by name, each an `AttackDraw`."
    )
    train: TrainConfig = Field(default=TrainConfig(), description="Training settings, see `TrainConfig`.")
    train_of: dict[str, TrainConfig] = Field(
        default={}, description="Training settings by architecture, instead of `train`; without train_images."
    )
    required_success: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="Required ASR on held-out images; a victim below it is listed as failed and replaced.",
    )
    held_out: int | None = Field(
        default=2000, ge=1, description="Number of test images for accuracy and ASR; None takes all."
    )

    @model_validator(mode="after")
    def _agrees(self) -> ZooSpec:
        unknown = [name for name in (*self.architectures, *self.train_of) if name not in ARCHITECTURES]
        if unknown:
            raise ValueError(f"no architecture {unknown[0]!r}; choose from {', '.join(ARCHITECTURES)}")
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError(f"sizes {self.sizes} contain one size twice")
        if both := {CLEAN, *map(_square, self.sizes)} & self.attacks.keys():
            raise ValueError(f"attacks: {min(both)!r} is a stratum already; choose another name")
        if any(train.train_images is not None for train in self.train_of.values()):
            raise ValueError("train_of: train_images is the same for all architectures; set it in train")
        if not self.draws() and self.quotas()[CLEAN] < self.models:
            raise ValueError("no sizes or attacks for the backdoored models; name some, or set clean_share to 1")
        return self

    @classmethod
    def of(cls, fields: dict[str, Any]) -> ZooSpec:
        """A spec from plain values. Raises ConfigError with a message of one line."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(f"zoo spec: {complaint(error)}") from error

    @classmethod
    def load(cls, path: str | Path) -> ZooSpec:
        """A spec from a `.toml` or `.json` file. Raises ConfigError with a message of one line."""
        path = Path(path)
        try:
            text = read_outside(path, TEXT_BYTES).text
            fields = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            return cls.of(fields)
        except (OSError, ValueError, RecursionError) as error:  # the parsers raise a ValueError; ConfigError is one
            raise ConfigError(f"{path}: {reason(error)}") from error

    def draws(self) -> dict[str, AttackDraw]:
        """How the attack of each stratum is drawn, without the clean one."""
        patches = {_square(size): self._patch(size) for size in self.sizes}
        return patches | self.attacks

    def training(self, architecture: str) -> TrainConfig:
        """How victims of this architecture are trained."""
        return self.train_of.get(architecture, self.train)

    def quotas(self) -> dict[str, int]:
        """The number of victims per stratum. They add up to `models`; the first strata get the remainder."""
        clean, strata = int(self.clean_share * self.models + 0.5), self.draws()
        if not strata:
            return {CLEAN: clean}
        each, more = divmod(self.models - clean, len(strata))
        return {CLEAN: clean} | {name: each + (i < more) for i, name in enumerate(strata)}

    def stratum(self, index: int) -> str:
        """The stratum of model `index`: the quotas in shuffled order, shuffled again after every `models` indices."""
        block, place = divmod(index, self.models)
        return self._order(block)[place]

    def strata(self) -> Iterator[str]:
        """The strata of all models in order of their indices, which asking `stratum` for each would shuffle anew."""
        for block in range(SEEDS_A_SPLIT // self.models + 1):
            yield from self._order(block)

    def target_class(self, index: int, n_classes: int) -> int:
        """The target of model `index`: the models of a stratum cycle through the classes, each time in a new order.

        Targets are therefore evenly distributed, except for models that replace a failed one.
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
        """The seed of everything that is drawn for model `index`."""
        if not 0 <= index < SEEDS_A_SPLIT:
            raise ConfigError(f"no seed for model {index}; a split has {SEEDS_A_SPLIT}")
        return self.first_seed + index


def _square(size: int) -> str:
    return f"{size}x{size}"
