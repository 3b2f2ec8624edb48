"""The form on disk of a trigger of any family: a patch as a mask and a pattern, every other family as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from db.errors import StorageError
from db.records import FloatArray, TriggerRow, check_json

Shape: TypeAlias = tuple[int, int, int]

PATCH = "patch"
"""The family whose triggers are a mask and a pattern."""

MOST_PARAMETERS = 1 << 22
"""Most characters of a trigger's JSON: a stranger's file must not fill the memory."""

_MOST_NAME = 64
"""Most characters of the name of a family and of a unit."""

TRIGGER_COLUMNS = (
    "target_class, family, channels, height, width, mask, pattern, parameters, mask_size, strength, unit, success_rate,"
    " successes, trials, censored"
)


def pack_trigger(trigger: TriggerRow) -> tuple[Any, ...]:
    """The trigger in the order of TRIGGER_COLUMNS. Raises StorageError where it has not exactly one valid form."""
    shape, strength = _checked(trigger), trigger.strength
    return (
        *(int(trigger.target_class), trigger.family, *shape),
        *(_bytes(trigger.mask), _bytes(trigger.pattern), trigger.parameters),
        *(float(trigger.mask_size), float(trigger.mask_size if strength is None else strength), trigger.unit),
        None if trigger.success_rate is None else float(trigger.success_rate),
        *(int(trigger.successes), int(trigger.trials), int(trigger.censored)),
    )


def unpack_trigger(row: Sequence[Any]) -> TriggerRow:
    """The record from a row of TRIGGER_COLUMNS; the arrays are copies. Raises StorageError as `pack_trigger`.

    Before schema 6 every trigger was a patch: what its row lacks is None here and is filled in.
    """
    target_class, family, channels, height, width, mask, pattern, parameters, *measured = row
    mask_size, strength, unit, success_rate, successes, trials, censored = measured
    trigger = TriggerRow(
        target_class,
        None if mask is None else np.frombuffer(mask, "<f4").astype(np.float32).reshape(1, height, width),
        None if pattern is None else np.frombuffer(pattern, "<f4").astype(np.float32).reshape(channels, height, width),
        *(mask_size, success_rate, successes, trials, bool(censored)),
        family=PATCH if family is None else family,
        parameters=parameters,
        strength=mask_size if strength is None else strength,
        unit="pixels" if unit is None else unit,
    )
    if _checked(trigger) != (channels, height, width):
        raise StorageError(f"trigger {target_class}: of {channels}x{height}x{width}, but its form is of another shape")
    return trigger


def _checked(trigger: TriggerRow) -> Shape:
    """The shape (C, H, W) of the images that the trigger is for."""
    for name in (trigger.family, trigger.unit):
        if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME or not name.isprintable():
            raise _error(trigger, f"a family or unit {ascii(name)[:_MOST_NAME]}; give 1 to {_MOST_NAME} letters")
    forms = trigger.mask is not None, trigger.pattern is not None, trigger.parameters is None
    if forms != (trigger.family == PATCH,) * 3:
        raise _error(trigger, "give a patch its mask and pattern, and any other family its parameters")
    for what, size in (("strength", trigger.strength), ("mask size", trigger.mask_size)):
        if size is not None and not (math.isfinite(size) and size >= 0):
            raise _error(trigger, f"{what} {size}; give a finite number of at least 0")
    return _shape_of_patch(trigger) if trigger.parameters is None else _shape_of_parameters(trigger, trigger.parameters)


def _shape_of_patch(trigger: TriggerRow) -> Shape:
    mask, pattern = trigger.mask, trigger.pattern
    assert mask is not None
    assert pattern is not None
    if mask.dtype != np.float32 or pattern.dtype != np.float32:
        raise _error(trigger, f"mask {mask.dtype}, pattern {pattern.dtype}; give float32")
    if mask.ndim != 3 or pattern.ndim != 3 or mask.shape != (1, *pattern.shape[1:]):
        raise _error(trigger, f"mask {mask.shape}, pattern {pattern.shape}; give (1, H, W) and (C, H, W)")
    channels, height, width = pattern.shape
    return channels, height, width


def _shape_of_parameters(trigger: TriggerRow, parameters: str) -> Shape:
    if len(parameters) > MOST_PARAMETERS:
        raise _error(trigger, f"{len(parameters):,} characters of parameters; give at most {MOST_PARAMETERS:,}")
    fields = check_json(parameters, f"trigger {trigger.target_class}: the parameters")
    if not isinstance(fields, dict) or fields.get("family") != trigger.family:
        raise _error(trigger, f"the parameters are not those of a {trigger.family}")
    shape = fields.get("image_shape")
    if not isinstance(shape, list) or [type(side) for side in shape] != [int] * 3 or min(shape) < 1:
        raise _error(trigger, "the parameters need an `image_shape` of three positive integers")
    return shape[0], shape[1], shape[2]


def _bytes(array: FloatArray | None) -> bytes | None:
    return None if array is None else array.astype("<f4").tobytes()


def _error(trigger: TriggerRow, what: str) -> StorageError:
    return StorageError(f"trigger {trigger.target_class}: {what}")
