"""From a search's triggers to a verdict: the check of the model, unseen images, the rule, the bill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import torch

from simkit.data import ImageSet
from simkit.detectors.access import WeightAccess
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import DataError
from simkit.search.evaluator import NotFinite
from simkit.search.images import class_of_all, halves
from simkit.triggers import stamp
from simkit.verdict import ClassResult, Kind, Rule, SequentialTest, Verdict, is_chance

_BLOCK = 256
"""Images in one pass that needs no gradient."""

Invert: TypeAlias = Callable[[WhiteModel, ImageSet, range], Sequence[ClassResult]]
"""A search for triggers: the model, labelled images, the target classes, to one result a class."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A white-box verdict and its cost, images sent through the model forward and backward; no query is asked.

    schedule: `reference`, `quick` (ours, fewer passes: not the authors' method), or `custom`. The verdict's notes say
    all this too.
    """

    verdict: Verdict
    schedule: str
    forward_passes: int
    backward_passes: int


class Seeded(Protocol):
    """A frozen dataclass with a seed."""

    @property
    def seed(self) -> int: ...


def schedule_name(detector: Seeded, presets: Mapping[str, Seeded]) -> str:
    """What a detector's settings are called, whatever its seed; `custom` where they are none of these."""
    mine = vars(detector)
    same = (name for name, known in presets.items() if mine == vars(known) | {"seed": detector.seed})
    return next(same, "custom")


def inspect(access: WeightAccess, search: Invert, rule: Rule, schedule: str) -> Inspection:
    """Search on the first half of the images, try every trigger on the second, and judge.

    Unlabelled images are labelled by the model. `invalid` on NaN, or where the model does not know the images.
    Raises DataError on images that do not fit, ModelError on a model that does not answer or passes no gradients on.
    """
    model = WhiteModel(access.model)
    try:
        verdict = _verdict(model, access.images, search, rule)
    except NotFinite as error:
        verdict = Verdict("invalid", "decided", (), None, (), None, str(error))
    bill = f"{model.forward_passes:,} images forward, {model.backward_passes:,} backward"
    notes = "; ".join(filter(None, (f"schedule {schedule}: {bill}", verdict.notes)))
    return Inspection(replace(verdict, notes=notes), schedule, model.forward_passes, model.backward_passes)


def _verdict(model: WhiteModel, images: ImageSet, search: Invert, rule: Rule) -> Verdict:
    rows = _log_probabilities(model, images.pixels)
    n_classes, told = rows.shape[1], rows.argmax(dim=1).numpy().astype(np.int32)
    if images.labels.max() >= n_classes:
        raise DataError(f"{images.name}: label {images.labels.max()}, but the model has {n_classes} classes")
    accuracy, chance = None, False
    if images.labelled:
        correct = int((told == images.labels).sum())
        accuracy, chance = correct / len(images), is_chance(correct, len(images), n_classes)
    if chance:
        why = "clean accuracy is at chance; check the input range and the normalisation"
        return Verdict("invalid", "decided", (), None, (), accuracy, why)
    split = halves(images if images.labelled else images.with_labels(told, n_classes))
    if class_of_all(split.search) is not None:
        raise DataError(f"{images.name}: every image to search on is of one class; give images of two or more")
    tried = [_tried(model, result, split.verify) for result in search(model, split.search, range(n_classes))]
    return judged(tried, rule, accuracy)


def judged(tried: Sequence[ClassResult], rule: Rule, accuracy: float | None = None) -> Verdict:
    """What a rule says of triggers that were all tried on unseen images, one a class.

    A flagged class counts where the sequential test says that its trigger works; where those images are too few to say
    so of any, and of none other, the verdict is `undecided`.
    """
    works = {c.target_class: _works(c) for c in tried}
    classes = tuple(replace(c, censored=c.censored or works[c.target_class] is False) for c in tried)
    decision = rule(classes)
    flagged = tuple(c for c in decision.flagged if works[c])
    open_ = tuple(c for c in decision.flagged if works[c] is None)
    kind: Kind = "backdoored" if flagged else "undecided" if open_ else "clean"
    notes = f"too few images to confirm the trigger of {'; '.join(_told(c) for c in tried if c.target_class in open_)}"
    return Verdict(
        kind, "decided" if flagged else "converged", flagged, decision.score, classes, accuracy, notes if open_ else ""
    )


def _told(result: ClassResult) -> str:
    return f"class {result.target_class}, which turned {result.success_rate or 0.0:.0%} of {result.trials}"


def _works(result: ClassResult) -> bool | None:
    """What the sequential test says of all unseen images at once; None where they are too few."""
    return SequentialTest().decide(round((result.success_rate or 0.0) * result.trials), result.trials)


def _tried(model: WhiteModel, result: ClassResult, images: ImageSet) -> ClassResult:
    """The result with its success rate on the images of other classes among these, None where there are none."""
    pixels = images.pixels[torch.from_numpy(np.flatnonzero(images.labels != result.target_class))]
    if len(pixels) == 0:
        return replace(result, success_rate=None, trials=0)
    mask, pattern = (torch.from_numpy(part)[None] for part in (result.trigger.mask, result.trigger.pattern))
    hits = _log_probabilities(model, stamp(pixels, mask, pattern)).argmax(dim=1) == result.target_class
    return replace(result, success_rate=float(hits.float().mean()), trials=len(pixels))


def _log_probabilities(model: WhiteModel, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.log_probabilities(some).cpu() for some in torch.split(pixels, _BLOCK)])
