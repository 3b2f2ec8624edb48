"""A race of patches for each source class, on images of that class alone.

It looks for triggers that work on images of one class only, as those of `simkit.attacks.source_specific`. A race on
images of all classes refutes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np

from simkit.errors import ConfigError
from simkit.search.contract import AskTell, Evidence, Proposal, Search, Task
from simkit.search.lengths import Breadth
from simkit.search.needs import Lacking
from simkit.search.patches import small_patch_warnings, untried
from simkit.search.race import Race, RaceConfig
from simkit.search.suspicion import Suspicion
from simkit.transforms.contract import same
from simkit.verdict import ClassResult


@dataclass(frozen=True)
class SourceRaceConfig:
    """The settings of a race for each source class in turn."""

    race: RaceConfig = field(default_factory=lambda: RaceConfig(queries=800))
    """The race of each source class; its `queries` are per source class."""
    least_images: int = 32
    """Search images of a class that a race for it needs; classes with fewer are left out."""

    def __post_init__(self) -> None:
        if self.least_images < 2:
            raise ConfigError("least_images of a race for each source class must be 2 or more, to rank and to test")

    def full_length(self, n_classes: int) -> int:
        """See `Bounded`."""
        return n_classes * self.race.full_length(n_classes)

    def search(self, task: Task, seed: int) -> Search:
        """See `SearchConfig`."""
        return SourceRace(self, task, seed)

    def warnings(self, image_shape: tuple[int, int, int], *, alone: bool) -> tuple[str, ...]:
        """See `Cautious`."""
        return small_patch_warnings(self.race.largest_area(image_shape), image_shape) if alone else ()

    def lacking(self, task: Task) -> Lacking:
        """See `Demanding`: what the settings of the race lack with `least_images`; `OfSources` counts the images."""
        unknown = np.full(self.least_images, -1, dtype=np.int32)
        lack = self.race.lacking(replace(task, image_classes=unknown))
        return {c: _of_race(what) for c, what in lack.items()}

    def largest_area(self, image_shape: tuple[int, int, int]) -> int:
        """The pixels of the largest patch on images of this shape, (C, H, W)."""
        return self.race.largest_area(image_shape)

    def breadth(self, task: Task) -> Breadth:
        """See `Broad`: for one source class."""
        tried = self.race.breadth(task)
        return replace(tried, of=f"{tried.of} for each source class", raised=_of_race(tried.raised))

    def sources(self, task: Task) -> tuple[int, ...]:
        """The source classes with enough search images, in order."""
        counts = np.bincount(task.image_classes[task.image_classes >= 0], minlength=task.n_classes)
        return tuple(map(int, np.flatnonzero(counts >= self.least_images)))

    @property
    def only_sought(self) -> str:
        """See `Limited`."""
        return "small patch that turns images of one class only"


def _of_race(words: str) -> str:
    """The same about settings that are those of each race here."""
    return words.replace("search.", "search.race.")


class SourceRace:
    """Races for one source class after another; satisfies `Search` and `Suspecting`.

    Every result is censored, since no trigger is known to work on images of all classes. An image of unknown class
    belongs to no source.
    """

    def __init__(self, config: SourceRaceConfig, task: Task, seed: int) -> None:
        self._config, self._task, self._seed = config, task, seed
        self._guard = AskTell(task.n_classes, len(task.image_classes))
        self._sources = config.sources(task)
        self._left = iter(self._sources)
        self._suspicions: dict[tuple[int, int], ClassResult] = {}
        self._rounds = 0
        self._begin()

    def _begin(self) -> None:
        """Begin the race of the next source class; the last one stays."""
        for source in self._left:
            self._source = source
            self._images = np.flatnonzero(self._task.image_classes == source).astype(np.int32)
            own = replace(self._task, image_classes=self._task.image_classes[self._images])
            self._race = Race(self._config.race, own, self._seed)
            return

    @property
    def rounds(self) -> int:
        return self._rounds

    def ask(self) -> Proposal | None:
        """The queries of the race that is on, on images of its source class."""
        if not self._sources or (proposal := self._race.ask()) is None:
            return None
        candidates, images = proposal.pairs.T
        return self._guard.asked(replace(proposal, pairs=np.column_stack([candidates, self._images[images]])))

    def tell(self, evidence: Evidence) -> None:
        self._guard.told(evidence)
        self._race.tell(evidence)
        self._rounds += 1
        for result in self._race.results():
            pair = self._source, result.target_class
            last = self._suspicions.get(pair)
            if not result.censored and (last is None or not same(last.trigger, result.trigger)):
                self._suspicions[pair] = result
        if self._race.over:
            self._begin()

    def suspicions(self) -> tuple[Suspicion, ...]:
        """See `Suspecting`."""
        return tuple(Suspicion(source, result) for (source, _), result in self._suspicions.items())

    def results(self) -> tuple[ClassResult, ...]:
        """Per class the trigger that passed a race's test last, else the best of the race that is on."""
        passed = {result.target_class: result for result in self._suspicions.values()}
        best = self._race.results() if self._sources else [self._untried(c) for c in range(self._task.n_classes)]
        return tuple(
            replace(found, trigger=found.trigger.copied(), censored=True)
            if (found := passed.get(result.target_class))
            else result
            for result in best
        )

    def _untried(self, target: int) -> ClassResult:
        return untried(target, self._task.image_shape)

    def state(self) -> str:
        """The number of rounds and of suspected pairs, the source class or None, and the state of its race."""
        summary = {"round": self._rounds, "pairs": len(self._suspicions)}
        if not self._sources:
            return json.dumps(summary | {"source_class": None})
        return json.dumps(summary | {"source_class": self._source, "race": json.loads(self._race.state())})
