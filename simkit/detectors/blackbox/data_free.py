"""B3D-SS as a detector: a search for triggers on images that it makes by asking."""

from __future__ import annotations

from dataclasses import dataclass, field

from simkit.detectors.access import QueryAccess
from simkit.detectors.blackbox.trigger_search import searched
from simkit.errors import ConfigError
from simkit.search.images import ScanImages
from simkit.search.presets import Preset, preset
from simkit.search.synthesis import Synthesis
from simkit.verdict import Verdict


@dataclass(frozen=True)
class DataFreeSearch:
    """Makes its images through the oracle, and searches and confirms on them; satisfies `Detector[QueryAccess]`.

    preset: one with a synthesis. seed: of images and search. search_images, verify_images: how many are made to search
    on, and to try triggers on. Raises ConfigError on a preset that makes no images, and on fewer than one of either.
    """

    preset: Preset = field(default_factory=lambda: preset("b3d-ss"))
    seed: int = 0
    search_images: int = 128
    verify_images: int = 128

    def __post_init__(self) -> None:
        if self.preset.synthesis is None:
            raise ConfigError("this preset makes no images; give one with a synthesis, such as b3d-ss")
        if min(self.search_images, self.verify_images) < 1:
            raise ConfigError("search_images and verify_images must be 1 or more")

    def detect(self, access: QueryAccess) -> Verdict:
        """See `Detector.detect`."""
        assert self.preset.synthesis is not None
        synthesis = Synthesis(self.preset.synthesis, self.seed)
        counts = self.search_images, self.verify_images
        images = ScanImages.to_be_made(synthesis, access.oracle.image_shape, *counts)
        return searched(self.preset, self.seed, images, access)
