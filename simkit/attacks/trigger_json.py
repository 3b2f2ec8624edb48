"""Stores a trigger of `simkit.attacks.patches` exactly as a few plain values, for specs and manifests."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from simkit.attacks.patches import BoolArray, patch_trigger
from simkit.errors import ConfigError, complaint
from simkit.triggers import FloatArray, Trigger

Pixels = Annotated[int, Field(ge=1)]


class PatchJson(BaseModel):
    """A trigger with a mask of zeros and ones, in 8-bit colours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_shape: tuple[Pixels, Pixels, Pixels] = Field(description="(C, H, W) of the images.")
    row: int = Field(ge=0, description="Top row of the smallest rectangle around the trigger.")
    col: int = Field(ge=0, description="Left column of that rectangle.")
    height: Pixels = Field(description="Height of that rectangle, in pixels.")
    width: Pixels = Field(description="Width of that rectangle, in pixels.")
    colours: str = Field(description="uint8 (C, height, width) as hexadecimal bytes; C bytes are one colour for all.")
    shape: tuple[str, ...] | None = Field(
        default=None, description="One line of 0 and 1 per row of the rectangle; None if it is filled."
    )

    @classmethod
    def of(cls, trigger: Trigger) -> PatchJson:
        """The stored form of a trigger. Raises ConfigError if plain values cannot store it exactly."""
        covered = _covered(trigger)
        rows, cols = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        shape = covered[box]
        channels, height, width = trigger.pattern.shape
        return cls(
            image_shape=(channels, height, width),
            row=int(rows[0]),
            col=int(cols[0]),
            height=shape.shape[0],
            width=shape.shape[1],
            colours=_hex(trigger.pattern[:, box[0], box[1]] * shape, shape),
            shape=None if shape.all() else tuple("".join("01"[int(cell)] for cell in line) for line in shape),
        )

    def trigger(self) -> Trigger:
        """The trigger. Raises ConfigError if the colours or the shape do not fit the rectangle."""
        channels, size = self.image_shape[0], (self.height, self.width)
        try:
            steps = np.frombuffer(bytes.fromhex(self.colours), np.uint8)
            steps = steps.reshape(channels, *((1, 1) if len(steps) == channels else size))
        except ValueError as error:
            need = f"{channels} bytes, or of {channels * self.height * self.width}"
            raise ConfigError(f"colours {self.colours[:20]!r} are not the hex of {need}") from error
        colours = np.broadcast_to((steps / 255.0).astype(np.float32), (channels, *size))
        return patch_trigger(self.image_shape, self.row, self.col, colours, self._shape())

    def _shape(self) -> BoolArray | None:
        if self.shape is None:
            return None
        if len(self.shape) != self.height or any(len(line) != self.width or set(line) - {*"01"} for line in self.shape):
            raise ConfigError(f"the shape needs {self.height} lines of {self.width} characters, each 0 or 1")
        return np.array([[cell == "1" for cell in line] for line in self.shape], np.bool_)


def trigger_to_json(trigger: Trigger) -> dict[str, Any]:
    """The trigger as plain values. Raises ConfigError unless its mask is 0 or 1 and its colours have 8 bits."""
    return PatchJson.of(trigger).model_dump(mode="json", exclude_none=True)


def trigger_from_json(fields: Any) -> Trigger:
    """The trigger that `trigger_to_json` wrote; a Trigger is returned unchanged. Raises ConfigError."""
    if isinstance(fields, Trigger):
        return fields
    try:
        return PatchJson.model_validate(fields).trigger()
    except ValidationError as error:
        raise ConfigError(f"trigger: {complaint(error, PatchJson.model_fields)}") from error


StoredTrigger: TypeAlias = Annotated[Trigger, PlainValidator(trigger_from_json)]
"""A Trigger that pydantic reads from this form."""


def _covered(trigger: Trigger) -> BoolArray:
    mask = trigger.mask[0]
    if not np.isin(mask, (0.0, 1.0)).all() or not mask.any():
        raise ConfigError("only a trigger whose mask is 0 or 1 can be written; give a soft one as alpha of `blended`")
    return np.asarray(mask == 1.0)


def _hex(colours: FloatArray, shape: BoolArray) -> str:
    steps = np.rint(colours * 255.0).astype(np.uint8)
    if not np.array_equal((steps / 255.0).astype(np.float32), colours):
        raise ConfigError("only a trigger in 8-bit colours can be written; round its pattern to steps of 1/255")
    inside = steps[:, shape]
    solid = bool((inside == inside[:, :1]).all())
    stored: bytes = (inside[:, :1] if solid else steps).tobytes()
    return stored.hex()
