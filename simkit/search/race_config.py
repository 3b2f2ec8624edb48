"""The settings of the race of patches; where a constant was not chosen here, its source stands beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.verdict import SequentialTest


@dataclass(frozen=True)
class RaceConfig:
    """One race of collages of patches for all classes at once.

    first: fresh collages at the start, each on one image. fresh, children: new collages a round, children of the best
    `parents` pairs of collage and class. retests: further queries a round for the best pairs, at most `retest_images`
    for each. patches: in a fresh collage. largest_share: of the image's pixels, that a collage may cover to pass, and
    the largest square patch; size_penalty: what each such area more takes from the value of a larger one, in nats.
    shrinkage: answers of value 0 that a value is shrunk by. prior_weight: answers of the class's mean in the baseline
    of an image.
    required_trials, required_success: answers and rate (hits + 0.5) / (trials + 1) of a pair before it is tested.
    test: on the `test_share` of the search images that ranks nothing, `test_batch` a round; what passes is reported,
    and goes on to the driver's own images. most_trials: answers after which a pair is ranked no further. tint_noise,
    pixel_noise: deviations of what mutation adds to colours in [0, 1]. part: chance that the child of a collage of
    several patches is one half of it. keep: collages remembered. restart: queries after which the collages are
    forgotten, the baselines not. queries: after so many the race is over. clean_from, clean_value, clean_rounds: it is
    over from clean_from queries on where the best pair's mean gain, in nats of at least three answers and one of 0, was
    below clean_value * ln(classes) on average over the last clean_rounds rounds of this population: the best of more
    classes is better by chance; None for no such end.
    """

    known_as: ClassVar[str] = "simkit.search.race_config.RaceConfig"  # in run keys and ledgers, wherever this class lives

    # Chosen on tune victims (the zoos cifar10-tune, gtsrb-tune and cifar10-wide-tune) among some sixty settings by the
    # mean of queries, where many were alike; those marked are the prototype's. The end for clean models was chosen on
    # the same victims and the clean ones of cifar10-clean-calibrate and gtsrb-clean-calibrate. Ten classes: of 87 finds
    # of backdoors, patches of up to 6x6 pixels, it would have ended one too early; of 84 scans of clean models 74
    # before the cap, half of them by 1,224 queries. 43 classes: none of 29; half of 28 by 1,224.
    first: int = 100
    fresh: int = 4
    children: int = 12
    parents: int = 5
    retests: int = 12
    retest_images: int = 3
    patches: int = 3
    largest_share: float = 1 / 64  # the prototype's 4x4 pixels, of 32x32
    size_penalty: float = 0.4
    shrinkage: float = 0.1
    prior_weight: float = 1.0
    required_trials: int = 5
    required_success: float = 0.65  # prototype
    test: SequentialTest = field(default_factory=lambda: SequentialTest(alpha=0.01, beta=0.01))
    test_share: float = 0.25
    test_batch: int = 4
    most_trials: int = 32  # prototype
    tint_noise: float = 0.5
    pixel_noise: float = 0.375  # prototype
    part: float = 0.95
    keep: int = 200
    restart: int = 1500  # prototype
    queries: int = 2800  # with what is checked and confirmed besides, the prototype's 3,000
    clean_from: int | None = 1200
    clean_value: float = 0.8
    clean_rounds: int = 15

    def __post_init__(self) -> None:
        least_one = (self.first, self.parents, self.retest_images, self.patches)
        others = (self.required_trials, self.test_batch, self.keep, self.restart, self.queries)
        if min(*least_one, *others) < 1 or min(self.fresh, self.children, self.retests) < 0:
            raise ConfigError("counts of a race must be 1 or more; fresh, children and retests 0 or more")
        if self.fresh + self.children < 1:
            raise ConfigError("a race needs new collages in every round: fresh or children")
        if not 0 < self.largest_share <= 1:
            raise ConfigError(f"largest_share {self.largest_share}; a patch covers a share in (0, 1] of the image")
        if self.most_trials < self.required_trials:
            raise ConfigError(f"most_trials {self.most_trials} lie below required_trials {self.required_trials}")
        if self.clean_rounds < 1 or (self.clean_from is not None and self.clean_from < 1):
            raise ConfigError("clean_rounds and clean_from of a race must be 1 or more, clean_from may be None")
        if not 0 < self.required_success < 1 or not 0 < self.test_share < 1 or not 0 <= self.part <= 1:
            raise ConfigError("required_success and test_share of a race must lie in (0, 1), part in [0, 1]")
        if min(self.size_penalty, self.prior_weight, self.tint_noise, self.pixel_noise) < 0 or self.shrinkage <= 0:
            raise ConfigError("size_penalty, prior_weight and noises of a race must be 0 or more, shrinkage above 0")

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        from simkit.search.race import Race  # it is built from these settings: at the top the import would be a circle

        return Race(self, task, seed)

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """Pixels of an image of this shape, (C, H, W), that a collage may cover to pass."""
        return max(1, int(self.largest_share * image_shape[1] * image_shape[2]))

    def largest_side(self, image_shape: tuple[int, int, int]) -> int:
        """Pixels along the side of the largest patch."""
        return math.isqrt(self.largest_area(image_shape))
