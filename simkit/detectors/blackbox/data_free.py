"""B3D-SS as a detector: a search for triggers on images that it synthesises by queries."""

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
    """Synthesises images by queries, and searches and confirms triggers on them; satisfies `Detector[QueryAccess]`.

    Raises ConfigError on a preset without a synthesis, and on fewer than one image of either kind.
    """

    preset: Preset = field(default_factory=lambda: preset("b3d-ss"))
    """A preset with a synthesis."""
    seed: int = 0
    """Seed of synthesis and search."""
    search_images: int = 128
    """Number of images synthesised for the search."""
    verify_images: int = 128
    """Number of images synthesised to confirm triggers."""

    def __post_init__(self) -> None:
        if self.preset.synthesis is None:
            raise ConfigError("this preset does not synthesise images; give one that does, such as b3d-ss")
        if min(self.search_images, self.verify_images) < 1:
            raise ConfigError("search_images and verify_images must be 1 or more")

    def detect(self, access: QueryAccess) -> Verdict:
        """See `Detector.detect`."""
        assert self.preset.synthesis is not None
        synthesis = Synthesis(self.preset.synthesis, self.seed)
        counts = self.search_images, self.verify_images
        images = ScanImages.to_be_made(synthesis, access.oracle.image_shape, *counts)
        return searched(self.preset, self.seed, images, access)
