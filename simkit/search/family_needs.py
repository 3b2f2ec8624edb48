"""What a race of families needs to be able to flag a class, and how many candidates it tries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simkit.data.images import ImageShape
from simkit.search.contract import Task
from simkit.search.lengths import Breadth, Retests, Rounds
from simkit.search.needs import Lacking, all_lack, ranked_and_tested, short_of
from simkit.seeding import stream
from simkit.transforms.breeding import Family


@dataclass(frozen=True)
class FamilyNeeds:
    """The settings that this depends on.

    rounds: with the retests of one family, and without the candidates along slopes. most_trials, retest_images,
    test_share: see `FamilyRaceConfig`.
    """

    families: tuple[Family, ...]
    rounds: Rounds
    most_trials: int
    retest_images: int
    test_share: float

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`."""
        pairs = [
            Retests(family.required_trials, family.required_success, self.most_trials, self.retest_images)
            for family in self.families
        ]
        needed = max(pair.needed(pair.required) for pair in pairs)
        if short := self._all_rounds.short(pairs[0], needed, "candidate"):
            return all_lack(task.n_classes, short)
        ranked, tested = ranked_and_tested(task, self.test_share)
        return short_of(tested, 1, "search") | short_of(ranked, needed, "search")

    def breadth(self) -> Breadth:
        """See `Broad`."""
        tried = self._all_rounds.breadth("candidates of each family")
        return replace(tried, count=tried.count // len(self.families))

    def smallest_mask(self, image_shape: ImageShape) -> int:
        """See `Coarse`: all pixels where some family changes all of them, so that a rule can flag each family."""
        pixels = image_shape[1] * image_shape[2]
        breeders = [family.breeder(image_shape) for family in self.families]
        drawn = (breeder.transform(breeder.fresh(stream(0, "smallest mask"))) for breeder in breeders)
        return pixels if any(trigger.mask_size >= pixels for trigger in drawn) else 1

    @property
    def _all_rounds(self) -> Rounds:
        return replace(self.rounds, again=len(self.families) * self.rounds.again)
