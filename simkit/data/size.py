"""The size to which image files are stretched: `32`, `32,48` or `[32, 48]`, height first."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

Side: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


def both_sides(value: object) -> object:
    """One number, or text with a comma, as two numbers; other values are returned unchanged."""
    if isinstance(value, str):
        value = tuple(value.split(","))
        return value * 2 if len(value) == 1 else value
    return (value, value) if isinstance(value, int) else value


ImageSize: TypeAlias = Annotated[tuple[Side, Side], BeforeValidator(both_sides)]
"""(height, width) in pixels, 1 to 4,096 each, for pydantic models."""
