"""What is wrong with an oracle spec, in one line."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from oracles.errors import likely
from oracles.watch.settings import WatchSpec


def one_line(error: ValidationError, fields: Iterable[str]) -> str:
    """The first thing that is wrong. fields: the names of the fields of a spec."""
    first, *more = error.errors(include_url=False)
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = WatchSpec.model_fields if place.startswith("watch.") else fields
        detail = f"there is no field {place!r}{likely(place.removeprefix('watch.'), known, 'the fields are')}"
    elif first["type"] == "missing":
        detail = f"{place} is missing; set it"
    elif place:
        detail = f"{place} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
    else:
        detail = first["msg"].removeprefix("Value error, ")
    return f"oracle spec: {detail}" + (f" (and {len(more)} more)" if more else "")
