"""The settings of the environment, and of the arms that its queries go to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.presets import B3D
from simkit.search.race import RaceConfig
from simkit.verdict import SequentialTest

LEVELS = (0.02, 0.2, 0.5, 0.8, 0.98)
"""The probabilities of `backdoored` that a verdict may state: near certainty, a lean, and none, on either side."""


@dataclass(frozen=True)
class EnvConfig:
    """What an episode costs and pays.

    budget: queries an episode, the first check among them; an arm that might cost more than is left cannot be had.
    price: of a thousand queries, in units of the score, so that 10,000 cost a tenth of what a sure and right verdict
    earns above one that knows nothing. prior: chance that the victim of an episode is backdoored, where there are both
    kinds; None draws from all victims alike. levels: the probabilities of `backdoored` that a verdict may state, in
    (0, 1), rising. Raises ConfigError.
    """

    budget: int = 20_000
    price: float = 0.01
    prior: float | None = 0.5
    levels: tuple[float, ...] = LEVELS

    def __post_init__(self) -> None:
        if self.budget < 1 or self.price < 0:
            raise ConfigError("budget of an episode must be 1 or more, price 0 or more")
        if self.prior is not None and not 0 < self.prior < 1:
            raise ConfigError(f"prior {self.prior}; give a chance in (0, 1), or None")
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or not self.levels[0] > 0:
            raise ConfigError(f"levels {self.levels}; give probabilities in (0, 1), rising")
        if self.levels[-1] >= 1:
            raise ConfigError(f"levels {self.levels}; give probabilities in (0, 1): no verdict is beyond doubt")

    def score(self, stated: float, backdoored: bool) -> float:
        """The Brier score of a stated probability, turned and stretched: 1 sure and right, 0 at one half, -3 sure and
        wrong. Proper: the mean is highest where what is stated is what is believed."""
        return 1.0 - 4.0 * (stated - backdoored) ** 2

    def cost(self, queries: int) -> float:
        """What so many queries cost, in units of the score."""
        return self.price * queries / 1000.0


def _efficient() -> B3DConfig:
    """B3D of the preset `b3d`, without the last steps, after which nobody looks."""
    return replace(B3D, steps=B3D.steps // B3D.check_every * B3D.check_every)


@dataclass(frozen=True)
class ArmsConfig:
    """How the arms search: one for each class, a B3D of that class alone, and a shared one, the race for all classes.

    classes: of B3D; a chunk of its queries ends with a look at its trigger, every `check_every` steps. largest_share:
    of the image, that the trigger of a class may cover to be tried on unseen images. shared: of the race, without its
    end for clean models, since that is for whoever spends to decide. shared_chunk: queries of a chunk of the race, at
    least. patch_test: what a trigger must pass that is no larger than the race's patches; strict_test: a larger one, of
    which clean models have some that often work. batch: unseen images asked about at a time. check_images: clean images
    asked about before anything else.
    """

    classes: B3DConfig = field(default_factory=_efficient)
    largest_share: float = 1 / 16
    shared: RaceConfig = field(default_factory=lambda: RaceConfig(clean_from=None))
    shared_chunk: int = 200
    patch_test: SequentialTest = field(default_factory=SequentialTest)
    strict_test: SequentialTest = field(default_factory=lambda: SequentialTest(works=0.95, fails=0.8))
    batch: int = 8
    check_images: int = 64

    def __post_init__(self) -> None:
        if min(self.shared_chunk, self.batch, self.check_images) < 1:
            raise ConfigError("shared_chunk, batch and check_images must be 1 or more")
        if not 0 < self.largest_share <= 1:
            raise ConfigError(f"largest_share {self.largest_share}; a trigger covers a share in (0, 1] of the image")
        if self.classes.steps < self.classes.check_every:
            raise ConfigError(f"B3D looks every {self.classes.check_every} steps; give it as many, or check more often")

    def largest_chunks(self, unseen: int) -> tuple[int, int]:
        """Queries that one chunk of a class, and one of the shared search, may cost at most; unseen: images."""
        b3d, race = self.classes, self.shared
        step = b3d.samples * b3d.images * (1 if b3d.joint else 2)
        race_round = max(race.first, race.fresh + race.children) + race.retests
        return b3d.check_every * step + b3d.check_images + unseen, self.shared_chunk + race_round + unseen
