"""B3D and the other trigger searches as detectors: a search for triggers and a decision rule."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkit.detectors.access import QueryAccess, QueryDataAccess
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages, halves
from simkit.search.presets import Preset, preset
from simkit.search.relay import Course, Relay
from simkit.verdict import Verdict


@dataclass(frozen=True)
class TriggerSearch:
    """Searches on the first half of the images and confirms on the second; satisfies `Detector[QueryDataAccess]`."""

    preset: Preset = field(default_factory=lambda: preset("auto"))
    """The preset; by default `auto`: the race and, if it detects nothing, B3D."""
    seed: int = 0
    """Seed of the search."""

    def detect(self, access: QueryDataAccess) -> Verdict:
        """See `Detector.detect`. Raises DataError on fewer than two images, ConfigError if they cannot be searched."""
        return searched(self.preset, self.seed, halves(access.images), access)


def searched(preset: Preset, seed: int, images: ScanImages, access: QueryAccess | QueryDataAccess) -> Verdict:
    """The verdict of one search on these images through `access`. Raises ConfigError if the settings do not fit."""
    course = Course(preset, seed, access.limit)
    course.check(images, access.oracle.n_classes)
    relay = Relay(course, images, lambda: access.oracle.n_classes)
    *_, last = relay.run(Evaluator(access.oracle, access.steps))
    assert last.verdict is not None  # the relay's last checkpoint has the verdict
    return last.verdict
