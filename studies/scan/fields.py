"""Settings applied to frozen dataclasses, and checked as pydantic checks the fields of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_type_hints

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from oracles.budget import whole_number
from oracles.errors import likely
from simkit.errors import ConfigError
from studies.scan.user_code import qualified_name

T = TypeVar("T")


def whole(value: Any) -> Any:
    """An integer of any size; unlike pydantic, this rejects booleans, text and fractions."""
    try:
        return None if value is None else whole_number(value, "it")
    except TypeError:
        raise PydanticCustomError("whole_number", "give a whole number") from None


def with_fields(config: T, settings: Mapping[str, Any], where: str) -> T:
    """A copy of a frozen dataclass with `settings` applied, also nested ones. Raises ConfigError naming the field."""
    if not settings:
        return config
    if not is_dataclass(config):
        raise ConfigError(f"{qualified_name(config)} is no frozen dataclass, so its settings cannot be replaced")
    names, changed = [f.name for f in fields(config)], {}
    for name, value in settings.items():
        here = f"{where}.{name}"
        if name not in names:
            raise ConfigError(f"{where} has no setting {name!r}{likely(name, names, 'it has')}")
        old = getattr(config, name)
        if is_dataclass(old) and isinstance(value, Mapping):
            changed[name] = with_fields(old, value, here)
        else:
            changed[name] = _checked(_of_field(cast(Any, type(config)), name), value, here)
    return cast(T, replace(cast(Any, config), **changed))


def valid(kind: Any, value: object, where: str) -> Any:
    """The value as one of this type; where: what the ConfigError calls it otherwise."""
    return _checked(_adapter(kind), value, where)


@lru_cache(maxsize=512)
def _of_field(owner: type, name: str) -> TypeAdapter[Any]:
    """Made once for each field of a dataclass: it takes far longer than a check, and a scan has a dozen of each."""
    return _adapter(get_type_hints(owner)[name])


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if set(get_args(kind) or (kind,)) <= {int, NoneType}:
        kind = Annotated[kind, BeforeValidator(whole)]
    return TypeAdapter(kind)


def _checked(adapter: TypeAdapter[Any], value: object, where: str) -> Any:
    try:
        checked = adapter.validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{where} = {value!r}: {error.errors(include_url=False)[0]['msg']}") from None
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"{where} = {value!r}: give a finite number")
    return checked
