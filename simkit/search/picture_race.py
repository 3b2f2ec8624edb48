"""A race of pictures: many random ones first, then those along the slope that all answers together have for each class.

Natural pictures that are blended in answer to no random picture. But one answer to a random picture says a little about
every class, and after some hundreds of them a regression for each class points to the picture that the network was
trained with; no clean model came near the success of such a picture (ours: docs/measured/pictures.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.search.family_race import FamilyRaceConfig
from simkit.search.leaps import LeapConfig
from simkit.search.lengths import Breadth
from simkit.search.needs import Lacking
from simkit.transforms.breeding import Family
from simkit.transforms.picture import PictureFamily


@dataclass(frozen=True)
class PictureRaceConfig:
    """The settings of a race of smooth pictures for all classes at once."""

    picture: PictureFamily = field(default_factory=PictureFamily)
    """How pictures are drawn, and what is demanded of them."""
    whole_from: int = 24
    """Smallest side of an image, in pixels, that is searched; below it 8x8 points are most of the image."""
    # Chosen on the same victims as the settings of the family.
    first: int = 400
    """Random pictures, each tried on one image, before the slopes are followed."""
    fresh: int = 2
    """Further random pictures in a round."""
    leap: LeapConfig = field(default_factory=lambda: LeapConfig(each=8, classes=3, after=1, noise=0.3))
    """How the slopes are followed after that."""
    shrinkage: float = 1.0
    """Number of answers of value 0 towards which the value of a picture is shrunk."""
    queries: int = 1500
    """Query budget of the race."""

    def __post_init__(self) -> None:
        if min(self.first, self.fresh, self.queries, self.whole_from) < 1 or self.shrinkage <= 0:
            raise ConfigError(
                "first, fresh, queries and whole_from of a race of pictures must be 1 or more, shrinkage above 0"
            )
        _ = self.race

    @property
    def race(self) -> FamilyRaceConfig:
        """The race of this one family that it is. Raises ConfigError where a setting is out of range."""
        return FamilyRaceConfig(
            patch=None,
            wave=None,
            blend=None,
            warp=None,
            more=(self.picture,),
            first=self.first,
            fresh=self.fresh,
            children=0,
            shrinkage=self.shrinkage,
            leap=self.leap,
            restart=self.queries,
            queries=self.queries,
        )

    def families_on(self, image_shape: tuple[int, int, int]) -> tuple[Family, ...]:
        """The one family, on images of this shape, (C, H, W). Raises ConfigError if they are too small."""
        if not self.takes(image_shape):
            size = "x".join(map(str, image_shape[1:]))
            raise ConfigError(f"images of {size} are too small for pictures; lower search.whole_from")
        return (self.picture,)

    def takes(self, image_shape: tuple[int, int, int]) -> bool:
        """See `Choosy`."""
        return min(image_shape[1:]) >= self.whole_from

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return self.queries

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`. Raises ConfigError with fewer than two search images, or images that are too small."""
        self.families_on(task.image_shape)
        return self.race.search(task, seed)

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        self.families_on(task.image_shape)
        return {c: _of_pictures(what) for c, what in self.race.lacking(task).items()}

    def smallest_mask(self, image_shape: tuple[int, int, int]) -> int:
        """See `Coarse`."""
        return self.race.smallest_mask(image_shape)

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`."""
        return replace(self.race.breadth(task), of="pictures")


def _of_pictures(words: str) -> str:
    """The same in the words of this race, which has no setting `most_trials`."""
    told = words.replace("per candidate", "per picture")
    return told.replace("raise search.most_trials", "lower search.picture.required_success")
