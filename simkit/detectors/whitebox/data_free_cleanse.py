"""Neural Cleanse without data: on images that are made from the weights alone.

The slides' table has a column of white-box detectors without data, whose papers we have not read; this is the smallest
detector with that access. `imagined` says where its images come from, `neural_cleanse` where its search does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simkit.detectors.access import ModelAccess, WeightAccess, check_access
from simkit.detectors.whitebox.imagined import ImaginedConfig, imagined
from simkit.detectors.whitebox.inspection import Inspection
from simkit.detectors.whitebox.neural_cleanse import PRESETS, NeuralCleanse
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.search.evaluator import NotFinite
from simkit.verdict import Verdict


@dataclass(frozen=True)
class DataFreeCleanse:
    """Satisfies `Detector[ModelAccess]`."""

    cleanse: NeuralCleanse = field(default_factory=lambda: replace(PRESETS["quick"], rule="below_median"))
    """The search and the rule; its seed is replaced by that of this detector. The rule is B3D's, a quarter of the
    median: on victims of the zoo `cifar10-tune` the anomaly index missed a mask of a fifteenth of the median, and
    flagged one of half of it on a clean model."""
    images: ImaginedConfig = field(default_factory=ImaginedConfig)
    """How images are made; the first half is searched with, the rest confirms triggers."""
    seed: int = 0
    """Seed of the images and of the search."""

    def detect(self, access: ModelAccess) -> Verdict:
        """The verdict without its cost; see `inspect`."""
        return self.inspect(access).verdict

    def inspect(self, access: ModelAccess) -> Inspection:
        """The verdict and its cost, with the images' own passes; see `whitebox.inspection.inspect`."""
        check_access(access, ModelAccess)
        model = WhiteModel(access.model)
        try:
            images = imagined(model, access.image_shape, self.images, self.seed)
        except NotFinite as error:
            verdict = Verdict("invalid", "decided", (), None, (), None, str(error))
            return Inspection(verdict, self.cleanse.schedule, model.forward_passes, model.backward_passes)
        found = replace(self.cleanse, seed=self.seed).inspect(WeightAccess(access.model, images))
        return replace(
            found,
            forward_passes=found.forward_passes + model.forward_passes,
            backward_passes=found.backward_passes + model.backward_passes,
            verdict=replace(found.verdict, notes=f"{self._made(model)}; {found.verdict.notes}"),
        )

    def _made(self, model: WhiteModel) -> str:
        passes = f"{model.forward_passes:,} images forward, {model.backward_passes:,} backward"
        return (
            f"{self.images.images} images were made from the weights ({passes}); the accuracy on real ones is unknown"
        )
