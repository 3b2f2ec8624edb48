"""The user's own code by name: `package.module:NAME`, imported from the path or from the working folder."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

from oracles.errors import one_line
from simkit.errors import ConfigError

_NAME = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


def is_reference(name: str) -> bool:
    """Whether `name` is of the form `package.module:NAME`."""
    return _NAME.fullmatch(name) is not None


def referred(name: str) -> Any:
    """The object that `package.module:NAME` names; the module may also be in the working folder.

    This runs the user's code, so it is only for names that the user typed. Raises ConfigError if there is none.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"{name!r} does not name an object in a module; write package.module:NAME")
    try:
        return imported(match[1], match[2])
    except ImportError as error:
        raise ConfigError(f"{name}: {error}") from error


def imported(module_name: str, name: str) -> Any:
    """The object with this (possibly dotted) name in a module, which may also be in the working folder.

    Raises ImportError with a message of one line for every failure, also where the module raises or calls sys.exit.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # an installed command does not have the working folder in its path
    try:
        thing: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ImportError(f"cannot import {module_name}: {one_line(error)}") from error
    for part in name.split("."):
        if not hasattr(thing, part):
            raise ImportError(f"{module_name} has no {name}")
        thing = getattr(thing, part)
    return thing
