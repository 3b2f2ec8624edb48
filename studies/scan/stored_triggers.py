"""Triggers of every family as the rows of a ledger, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from db.errors import StorageError
from db.records import TriggerRow
from db.trigger_rows import pack_trigger, unpack_trigger
from simkit.data.images import ImageShape
from simkit.errors import ConfigError
from simkit.search.contract import OwnFamilies
from simkit.transforms.contract import Candidates, Transform
from simkit.transforms.families import FAMILIES, Reader, transform_from_json
from simkit.triggers import Trigger, Triggers
from simkit.verdict import ClassResult, Verdict

_MOST_PIXELS = 1 << 20
"""Larger images are not drawn."""

NO_MORE: Mapping[str, Reader] = MappingProxyType({})
"""No family but those of simkit."""


def readers_of(*settings: object) -> Mapping[str, Reader]:
    """The readers of a user's own families, of these settings of searches or detectors."""
    return {name: read for own in settings if isinstance(own, OwnFamilies) for name, read in own.readers().items()}


class Admission:
    """Refuses candidates of a family whose triggers the ledger could not give back, before their first query."""

    def __init__(self, more: Mapping[str, Reader]) -> None:
        self._more, self._admitted = more, set(FAMILIES)

    def __call__(self, candidates: Candidates) -> None:
        """Raises ConfigError at the first candidate of such a family."""
        if isinstance(candidates, Triggers):
            return
        for trigger in (candidates[i] for i in range(len(candidates))):
            if trigger.family not in self._admitted:
                self._check(trigger)
                self._admitted.add(trigger.family)

    def _check(self, trigger: Transform) -> None:
        try:
            row = _row(ClassResult(0, trigger, trigger.mask_size, None, censored=True))
            stored_trigger(unpack_trigger(pack_trigger(row)), self._more)
        except (StorageError, TypeError, ValueError) as error:
            told = f"the ledger cannot keep triggers of family {trigger.family!r}: {error}"
            raise ConfigError(f"{told}; see `readers` and `to_json` in the how-to page on families") from error


def trigger_rows(verdict: Verdict) -> list[TriggerRow]:
    """The stored form of the best trigger of every class."""
    return [_row(result) for result in verdict.classes]


def _row(result: ClassResult) -> TriggerRow:
    """A patch where a mask and a pattern describe the trigger, else its family's own JSON."""
    trigger, patch = result.trigger, result.trigger.as_patch
    kept: Transform = trigger if patch is None else patch
    return TriggerRow(
        result.target_class,
        None if patch is None else patch.mask,
        None if patch is None else patch.pattern,
        mask_size=result.mask_size,
        success_rate=result.success_rate if result.trials else None,
        successes=0 if result.success_rate is None else round(result.success_rate * result.trials),
        trials=result.trials,
        censored=result.censored,
        family=kept.family,
        parameters=None if patch is not None else json.dumps(trigger.to_json(), allow_nan=False),
        strength=result.mask_size if patch is not None else trigger.strength,
        unit=kept.unit,
    )


def stored_trigger(row: TriggerRow, more: Mapping[str, Reader] = NO_MORE) -> Transform:
    """The trigger of a row. more: the readers of a user's own families by name.

    Raises StorageError where the family is unknown, or its parameters are none of this family.
    """
    if row.mask is not None and row.pattern is not None:
        return Trigger(row.mask, row.pattern)
    try:
        return transform_from_json(json.loads(row.parameters or "null"), more)
    except ConfigError as error:
        raise StorageError(f"the trigger of class {row.target_class}: {error}") from error


def image_shape_of(row: TriggerRow) -> ImageShape:
    """The shape (C, H, W) of the images that a stored trigger is for."""
    if row.pattern is not None:
        channels, height, width = row.pattern.shape
    else:
        channels, height, width = json.loads(row.parameters or "{}")["image_shape"]
    return channels, height, width


def is_drawable(row: TriggerRow) -> bool:
    """Whether a picture of the trigger can be made without a user's own code, and of a size that a page can hold.

    A few bytes may name a warp of millions of pixels; the pixels of a patch are in the ledger.
    """
    if row.parameters is None:
        return True
    _, height, width = image_shape_of(row)
    return row.family in FAMILIES and height * width <= _MOST_PIXELS


def stored_class(row: TriggerRow, more: Mapping[str, Reader] = NO_MORE) -> ClassResult:
    """The result of a class from its row. Raises StorageError as `stored_trigger`."""
    trigger = stored_trigger(row, more)
    return ClassResult(row.target_class, trigger, row.mask_size, row.success_rate, row.censored, row.trials)
