"""A white-box verdict: the check of the model, the search, the test on unseen images, the rule, and the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import torch

from simkit.data import ImageSet
from simkit.detectors.access import WeightAccess, check_access
from simkit.detectors.whitebox.white_model import WhiteModel
from simkit.errors import DataError
from simkit.search.evaluator import NotFinite
from simkit.search.images import class_of_all, halves
from simkit.search.needs import least_trials, never_flags
from simkit.search.recognition import at_chance, doubts
from simkit.verdict import ClassResult, Kind, Rule, SequentialTest, Verdict, is_chance

_BLOCK = 256
"""Images per pass without gradients."""

Invert: TypeAlias = Callable[[WhiteModel, ImageSet, range], Sequence[ClassResult]]
"""A search for triggers, from the model, labelled images and target classes to one result per class."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A white-box verdict and its cost: the number of images in forward and backward passes. No queries are sent.

    schedule: `reference`, `quick` (ours, with fewer passes, not the authors' method), or `custom`. The verdict's notes
    state all of this as well.
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
    """The name of a detector's settings, regardless of its seed; `custom` if they are not one of `presets`."""
    mine = vars(detector)
    same = (name for name, preset in presets.items() if mine == vars(preset) | {"seed": detector.seed})
    return next(same, "custom")


def inspect(access: WeightAccess, search: Invert, rule: Rule, schedule: str) -> Inspection:
    """Search on the first half of the images, try every trigger on the second half, and apply the rule.

    Unlabelled images are labelled by the model. The verdict is `invalid` on NaN, or if the model does not recognise the
    images. Raises ConfigError for any other access, DataError on images that do not fit, ModelError on a model that
    fails or returns no gradients.
    """
    check_access(access, WeightAccess)
    model = WhiteModel(access.model)
    try:
        verdict = _verdict(model, access.images, search, rule)
    except NotFinite as error:
        verdict = Verdict("invalid", "decided", (), None, (), None, str(error))
    cost = f"{model.forward_passes:,} images forward, {model.backward_passes:,} backward"
    notes = "; ".join(filter(None, (f"schedule {schedule}: {cost}", verdict.notes)))
    return Inspection(replace(verdict, notes=notes), schedule, model.forward_passes, model.backward_passes)


def _verdict(model: WhiteModel, images: ImageSet, search: Invert, rule: Rule) -> Verdict:
    rows = _log_probabilities(model, images.pixels)
    n_classes, answers = rows.shape[1], rows.argmax(dim=1).numpy().astype(np.int32)
    if images.labels.max() >= n_classes:
        raise DataError(f"{images.name}: label {images.labels.max()}, but the model has {n_classes} classes")
    accuracy, chance = None, False
    if images.labelled:
        correct = int((answers == images.labels).sum())
        accuracy, chance = correct / len(images), is_chance(correct, len(images), n_classes)
    if chance:
        return Verdict("invalid", "decided", (), None, (), accuracy, at_chance(images.labels, answers))
    split = halves(images if images.labelled else images.with_labels(answers, n_classes))
    if class_of_all(split.search) is not None:
        raise DataError(f"{images.name}: all search images are of one class; give images of two classes or more")
    tried = [_tried(model, result, split.verify) for result in search(model, split.search, range(n_classes))]
    verdict = judged(tried, rule, accuracy)
    return replace(verdict, notes="; ".join(filter(None, (verdict.notes, doubts(images.labels, answers)))))


def judged(tried: Sequence[ClassResult], rule: Rule, accuracy: float | None = None) -> Verdict:
    """The verdict of a rule on triggers, one per class, that were all tried on unseen images.

    A flagged class counts if the sequential test decides that its trigger works. If it confirms no class and the images
    are too few to decide on some flagged class, the verdict is `undecided`.
    """
    works = {c.target_class: _works(c) for c in tried}
    classes = tuple(replace(c, censored=c.censored or works[c.target_class] is False) for c in tried)
    decision = rule(classes)
    flagged = tuple(c for c in decision.flagged if works[c])
    open_ = tuple(c for c in decision.flagged if works[c] is None)
    notes = (
        f"too few images to confirm the trigger of {'; '.join(_described(c) for c in tried if c.target_class in open_)}"
    )
    notes = notes if open_ else "" if flagged else _unable(classes, rule)
    kind: Kind = "backdoored" if flagged else "undecided" if notes else "clean"
    score = rule.confirmed_score(classes, flagged)
    return Verdict(kind, "decided" if flagged else "converged", flagged, score, classes, accuracy, notes)


def _unable(classes: Sequence[ClassResult], rule: Rule) -> str:
    """Why some class could not have been flagged, whatever trigger was found; empty if every class could."""
    if never_flags(rule, len(classes), classes[0].trigger.image_shape):
        return f"the rule {rule.name} with limit {rule.threshold} can flag no mask on {len(classes)} classes"
    needed = least_trials(SequentialTest())
    few = next((c for c in classes if c.trials < needed), None)
    return (
        "" if few is None else f"class {few.target_class} could be tried on {few.trials} images; {needed} confirm one"
    )


def _described(result: ClassResult) -> str:
    return f"class {result.target_class}, which turned {result.success_rate or 0.0:.0%} of {result.trials}"


def _works(result: ClassResult) -> bool | None:
    """The decision of the sequential test on all unseen images; None if they are too few."""
    return SequentialTest().decide(round((result.success_rate or 0.0) * result.trials), result.trials)


def _tried(model: WhiteModel, result: ClassResult, images: ImageSet) -> ClassResult:
    """The result with its success rate on those of the images that are of other classes, None without any."""
    pixels = images.pixels[torch.from_numpy(np.flatnonzero(images.labels != result.target_class))]
    if len(pixels) == 0:
        return replace(result, success_rate=None, trials=0)
    stamped = torch.from_numpy(result.trigger.on(pixels.numpy()))
    hits = _log_probabilities(model, stamped).argmax(dim=1) == result.target_class
    return replace(result, success_rate=float(hits.float().mean()), trials=len(pixels))


def _log_probabilities(model: WhiteModel, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.log_probabilities(some).cpu() for some in torch.split(pixels, _BLOCK)])
