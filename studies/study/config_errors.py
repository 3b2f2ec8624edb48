"""What is wrong with a study file, in one line: which key, and what was perhaps meant."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from oracles.errors import likely

_SHOWN = 40
"""Characters of a value that a message still shows."""

_CLASS = re.compile(r"function-\w+\[")
"""How pydantic calls a class with a check of its own, in the path of what is wrong."""

_NAMES = ("name", "folder")
"""What an entry of a list is called by."""


def complaint(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    """The first of what pydantic has against `given`, and how many more there are.

    given: as it was read, so that `detectors[race]` can be said in place of a number.
    """
    first, *others = sorted(_found(error), key=lambda found: found["type"] != "extra_forbidden")
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


def _found(error: ValidationError) -> list[Any]:
    """What pydantic has against the file. Of the kinds that a value may be, those alone that it looks like.

    A table that may be two things is told of as both; the one whose keys it has is meant.
    """
    found = error.errors(include_url=False)
    named = [one for one in found if one["type"] == "value_error" and _CLASS.search(str(one["loc"]))]
    return named or found


def _unknown(loc: Sequence[Any], model: type[BaseModel], given: Mapping[str, Any]) -> str:
    *table, name = loc
    holder = _at(model, table)
    known = list(holder.model_fields) if holder is not None else []
    where = _where(table, given)
    return f"there is no key {name!r}{f' in {where}' if where else ''}{likely(str(name), known) if known else ''}"


def _keys(loc: Sequence[Any], given: Any) -> list[Any]:
    """The path without what is no key: pydantic puts the class there that it tried, of several."""
    keys = []
    for part in loc:
        inside = _inside(given, part)
        if inside is None and isinstance(part, str) and (part[:1].isupper() or _CLASS.match(part)):
            continue
        keys.append(part)
        given = inside
    return keys


def _where(loc: Sequence[Any], given: Any) -> str:
    """The key as it stands in the file, an entry of a list by its name."""
    told = ""
    for part in loc:
        given = _inside(given, part)
        if isinstance(part, int):
            named = next((given[key] for key in _NAMES if isinstance(given, Mapping) and key in given), part)
            told += f"[{named}]"
        else:
            told += f".{part}" if told else str(part)
    return told


def _inside(given: Any, part: Any) -> Any:
    try:
        return given[part]
    except (KeyError, IndexError, TypeError):
        return None


def _at(model: type[BaseModel], loc: Sequence[Any]) -> type[BaseModel] | None:
    """The model that the table at `loc` is read as, None where it is none."""
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
    """Without `None` and without annotations."""
    if get_origin(kind) is Annotated:
        return _of_one(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _of_one(next(part for part in get_args(kind) if part is not type(None)))
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
