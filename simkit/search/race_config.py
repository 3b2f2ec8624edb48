"""The settings of the race of patches; where a constant was not chosen here, its source stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.verdict import SequentialTest


@dataclass(frozen=True)
class RaceConfig:
    """One race of collages of patches for all classes at once.

    first: fresh collages at the start, each on one image. fresh, children: new collages a round, children of the best
    `parents` pairs of collage and class. retests: further queries a round for the best pairs, at most `retest_images`
    for each. patches: in a fresh collage. largest_side: of a patch, in pixels. largest_area: of a collage that may
    pass, in pixels; size_penalty: what each pixel more takes from the value of a larger one, in nats. shrinkage:
    answers of value 0 that a value is shrunk by. prior_weight: answers of the class's mean in the baseline of an image.
    required_trials, required_success: answers and rate (hits + 0.5) / (trials + 1) of a pair before it is tested.
    test: on the `test_share` of the search images that ranks nothing, `test_batch` a round; what passes is reported,
    and goes on to the driver's own images. most_trials: answers after which a pair is ranked no further. tint_noise,
    pixel_noise: deviations of what mutation adds to colours in [0, 1]. part: chance that the child of a collage of
    several patches is one half of it. keep: collages remembered. restart: queries after which the collages are
    forgotten, the baselines not. queries: after so many the race is over.
    """

    # Chosen on tune victims (the zoos cifar10-tune, gtsrb-tune and cifar10-wide-tune) among some sixty settings by the
    # mean of queries; those marked are the prototype's.
    first: int = 100
    fresh: int = 4
    children: int = 12
    parents: int = 5
    retests: int = 12
    retest_images: int = 3
    patches: int = 3
    largest_side: int = 4  # prototype
    largest_area: int = 16  # prototype
    size_penalty: float = 0.025
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
    queries: int = 3000  # prototype

    def __post_init__(self) -> None:
        least_one = (self.first, self.children, self.parents, self.retest_images, self.patches, self.largest_side)
        others = (self.largest_area, self.required_trials, self.test_batch, self.keep, self.restart, self.queries)
        if min(*least_one, *others) < 1 or min(self.fresh, self.retests) < 0:
            raise ConfigError("counts, sides and areas of a race must be 1 or more, fresh and retests 0 or more")
        if self.most_trials < self.required_trials:
            raise ConfigError(f"most_trials {self.most_trials} lie below required_trials {self.required_trials}")
        if not 0 < self.required_success < 1 or not 0 < self.test_share < 1 or not 0 <= self.part <= 1:
            raise ConfigError("required_success and test_share of a race must lie in (0, 1), part in [0, 1]")
        if min(self.size_penalty, self.prior_weight, self.tint_noise, self.pixel_noise) < 0 or self.shrinkage <= 0:
            raise ConfigError("size_penalty, prior_weight and noises of a race must be 0 or more, shrinkage above 0")

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images."""
        from simkit.search.race import Race  # it is built from these settings: at the top the import would be a circle

        return Race(self, task, seed)
