"""Describes what is wrong with a study file in one line: the key, and the name that was probably meant."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from oracles.errors import likely

_SHOWN = 40
"""Maximum number of characters of a value in a message."""

_CLASS = re.compile(r"function-\w+\[")
"""How pydantic names a class with a validator in the path of an error."""

_NAMES = ("name", "folder")
"""The fields that give an entry of a list its name."""


def complaint(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    """The first error of pydantic in one line, and the number of further ones.

    given: the file as it was read, so that the message can say `detectors[race]` in place of a number.
    """
    first, *others = sorted(_errors(error), key=lambda problem: problem["type"] != "extra_forbidden")
    more = f" (and {len(others)} more)" if others else ""
    loc = _keys(first["loc"], given)
    if first["type"] == "extra_forbidden":
        return f"{_unknown(loc, model, given)}{more}"
    where, message = _where(loc, given), first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where}: is missing; set it{more}"
    shown = repr(first["input"])
    value = f" = {shown}" if isinstance(first["input"], str | int | float) and len(shown) <= _SHOWN else ""
    return f"{where}{value}: {message}{more}" if where else f"{message}{more}"


def _errors(error: ValidationError) -> list[Any]:
    """The errors of pydantic; for a value of one of several types, only those of the type that it matches.

    pydantic reports errors of all types; a validator's own error comes from the type whose keys the table has.
    """
    errors = error.errors(include_url=False)
    own = [problem for problem in errors if problem["type"] == "value_error" and _CLASS.search(str(problem["loc"]))]
    return own or errors


def _unknown(loc: Sequence[Any], model: type[BaseModel], given: Mapping[str, Any]) -> str:
    *table, name = loc
    holder = _at(model, table)
    keys = list(holder.model_fields) if holder is not None else []
    where = _where(table, given)
    return f"there is no key {name!r}{f' in {where}' if where else ''}{likely(str(name), keys) if keys else ''}"


def _keys(loc: Sequence[Any], given: Any) -> list[Any]:
    """The path without parts that are no keys, since pydantic adds the class that it tried."""
    keys = []
    for part in loc:
        inside = _inside(given, part)
        if inside is None and isinstance(part, str) and (part[:1].isupper() or _CLASS.match(part)):
            continue
        keys.append(part)
        given = inside
    return keys


def _where(loc: Sequence[Any], given: Any) -> str:
    """The key as in the file, with entries of lists by their names."""
    path = ""
    for part in loc:
        given = _inside(given, part)
        if isinstance(part, int):
            named = next((given[key] for key in _NAMES if isinstance(given, Mapping) and key in given), part)
            path += f"[{named}]"
        else:
            path += f".{part}" if path else str(part)
    return path


def _inside(given: Any, part: Any) -> Any:
    try:
        return given[part]
    except (KeyError, IndexError, TypeError):
        return None


def _at(model: type[BaseModel], loc: Sequence[Any]) -> type[BaseModel] | None:
    """The model of the table at `loc`, None if it has none."""
    kind: Any = model
    for part in loc:
        kind = _of_one(kind)
        if _is_model(kind):
            if part not in kind.model_fields:
                return None
            kind = kind.model_fields[part].annotation
        elif get_origin(kind) in (tuple, list, dict):
            kind = get_args(kind)[1 if get_origin(kind) is dict else 0]
    kind = _of_one(kind)
    return kind if _is_model(kind) else None


def _of_one(kind: Any) -> Any:
    """The type without `None` and without annotations."""
    if get_origin(kind) is Annotated:
        return _of_one(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _of_one(next(part for part in get_args(kind) if part is not type(None)))
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
