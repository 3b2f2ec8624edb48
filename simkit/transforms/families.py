"""The families of triggers by name, and a trigger from its stored form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from simkit.errors import ConfigError
from simkit.transforms.blend import Blend
from simkit.transforms.contract import Transform
from simkit.transforms.picture import Picture
from simkit.transforms.warp import Warp
from simkit.transforms.wave import Waves
from simkit.triggers import Trigger

Reader: TypeAlias = Callable[[Mapping[str, Any]], Transform]
"""Makes a trigger of its stored form. Raises KeyError, TypeError or ValueError where it is none."""

FAMILIES: Mapping[str, Reader] = MappingProxyType(
    {
        "patch": Trigger.from_json,
        Waves.family: Waves.from_json,
        Blend.family: Blend.from_json,
        Warp.family: Warp.from_json,
        Picture.family: Picture.from_json,
    }
)
"""The families that come with simkit."""


def transform_from_json(fields: Any, more: Mapping[str, Reader] = MappingProxyType({})) -> Transform:
    """The trigger that `Transform.to_json` wrote. more: further families by name. Raises ConfigError."""
    family = fields.get("family") if isinstance(fields, Mapping) else None
    readers = {**FAMILIES, **more}
    if not isinstance(family, str) or family not in readers:
        raise ConfigError(f"no family of triggers {family!r}; known are {', '.join(readers)}")
    try:
        return readers[family](fields)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise ConfigError(f"a trigger of family {family}: {error}") from error
