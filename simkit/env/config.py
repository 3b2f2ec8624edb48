"""The settings of the environment and of its arms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.b3d_settings import B3D_50
from simkit.search.race import RaceConfig
from simkit.verdict import SequentialTest

LEVELS = (0.02, 0.2, 0.5, 0.8, 0.98)
"""The probabilities of a backdoor that a verdict may state: almost certain or likely, for either side, and one half."""


@dataclass(frozen=True)
class EnvConfig:
    """The budget, price and verdicts of an episode. Raises ConfigError."""

    budget: int = 20_000
    """Query budget of an episode, including the first check."""
    price: float = 0.01
    """Price of 1000 queries in units of the score: with 0.01, 10,000 queries cost 0.1; a certain right verdict earns
    1."""
    prior: float | None = 0.5
    """Probability that the victim is backdoored, if there are both kinds; None draws from all victims alike."""
    levels: tuple[float, ...] = LEVELS
    """The probabilities of a backdoor that a verdict may state, in (0, 1), ascending."""

    def __post_init__(self) -> None:
        if self.budget < 1 or self.price < 0:
            raise ConfigError("budget of an episode must be 1 or more, price 0 or more")
        if self.prior is not None and not 0 < self.prior < 1:
            raise ConfigError(f"prior {self.prior}; give a probability in (0, 1), or None")
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or not self.levels[0] > 0:
            raise ConfigError(f"levels {self.levels}; give probabilities in (0, 1), ascending")
        if self.levels[-1] >= 1:
            raise ConfigError(f"levels {self.levels}; give probabilities in (0, 1), without 0 and 1")

    def score(self, stated: float, backdoored: bool) -> float:
        """The Brier score of a stated probability, rescaled to 1 for certain and right, 0 for one half, and -3 for
        certain and wrong. It is proper: its expectation is highest if the stated probability is the believed one."""
        return 1.0 - 4.0 * (stated - backdoored) ** 2

    def cost(self, queries: int) -> float:
        """The price of `queries`, in units of the score."""
        return self.price * queries / 1000.0


def _b3d_in_chunks() -> B3DConfig:
    """B3D with fifty samples a step, without the last steps, which no check follows."""
    return replace(B3D_50, steps=B3D_50.steps // B3D_50.check_every * B3D_50.check_every)


@dataclass(frozen=True)
class ArmsConfig:
    """How the arms search: one B3D search per class, and a shared race for all classes."""

    classes: B3DConfig = field(default_factory=_b3d_in_chunks)
    """B3D of a class arm; a chunk ends with a check of its trigger, every `check_every` steps."""
    largest_share: float = 1 / 16
    """Largest share of the image that a class arm's trigger may cover to be tried on unseen images."""
    shared: RaceConfig = field(default_factory=RaceConfig)
    """The race of the shared arm; without an early end for clean models, since the policy decides when to stop."""
    shared_chunk: int = 200
    """Fewest queries of a chunk of the race."""
    patch_test: SequentialTest = field(default_factory=SequentialTest)
    """The test of triggers no larger than the race's patches."""
    strict_test: SequentialTest = field(default_factory=lambda: SequentialTest(works=0.95, fails=0.8))
    """The test of larger triggers, some of which often work on clean models."""
    batch: int = 8
    """Unseen images per call."""
    check_images: int = 64
    """Clean images of the first check."""

    def __post_init__(self) -> None:
        if min(self.shared_chunk, self.batch, self.check_images) < 1:
            raise ConfigError("shared_chunk, batch and check_images must be 1 or more")
        if not 0 < self.largest_share <= 1:
            raise ConfigError(f"largest_share is {self.largest_share}; give a share of the image in (0, 1]")
        if self.classes.steps < self.classes.check_every:
            raise ConfigError(
                f"B3D checks every {self.classes.check_every} steps; give it as many, or lower check_every"
            )

    def largest_chunks(self, unseen: int) -> tuple[int, int]:
        """The most queries of one chunk of a class arm and of the shared arm. unseen: number of unseen images."""
        b3d, race = self.classes, self.shared
        step = b3d.samples * b3d.images * (1 if b3d.joint else 2)
        race_round = max(race.first, race.fresh + race.children) + race.retests
        return b3d.check_every * step + b3d.check_images + unseen, self.shared_chunk + race_round + unseen
