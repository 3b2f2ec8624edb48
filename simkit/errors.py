"""All errors that this package raises on purpose. Each message says what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oracles.errors import likely

if TYPE_CHECKING:
    from pydantic import ValidationError


class SimkitError(Exception):
    """Base of the errors of this package."""


class DataError(SimkitError):
    """A data set that cannot be read, or that does not fit the model or the task."""


class ContractError(SimkitError):
    """A search or its driver broke the ask-and-tell contract."""


class ConfigError(SimkitError, ValueError):
    """A setting outside its range, or settings that exclude each other."""


_SHOWN = 40
"""Longest value, in characters, that a message shows."""


def complaint(error: ValidationError, settings: Iterable[str] = ()) -> str:
    """The first problem of a pydantic error in one line, and the number of further problems.

    settings: the existing names, for the message about an unknown one.
    """
    first, *others = error.errors(include_url=False)
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a dataclass
        names = list(settings)
        return f"no setting {where!r}" + (likely(where, names, "the settings are") if names else "") + more
    shown = repr(first["input"])
    value = f" = {shown}" if first["loc"] and first["type"] != "missing" and len(shown) <= _SHOWN else ""
    said = " ".join(first["msg"].removeprefix("Value error, ").split())  # a class of the user's may say several lines
    return f"{where}{value}: {said}{more}"
