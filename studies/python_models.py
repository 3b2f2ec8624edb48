"""`python:package.module:name` on the command line: the user's own code, imported and run as such."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracles.errors import ModelError, one_line

PREFIX = "python:"


def import_model(address: str) -> Any:
    """What `python:package.module:name` names; modules of the current folder are found too.

    Raises ModelError if the text has another form, the module cannot be imported, or has no such name.
    """
    module_name, colon, name = address.removeprefix(PREFIX).partition(":")
    if not (colon and module_name and name):
        raise ModelError(f"{address}: write python:package.module:function")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ModelError(f"{address}: cannot import {module_name}: {one_line(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ModelError(f"{address}: {module_name} has no {name}")
        found = getattr(found, part)
    return found


def source_sha256(address: str, model: object) -> str:
    """Of the address and of the file that defines `model`; what that file imports is not covered."""
    digest = hashlib.sha256(address.encode())
    with suppress(TypeError, OSError):
        kind: Any = model if inspect.isroutine(model) or inspect.isclass(model) else type(model)
        digest.update(Path(inspect.getfile(kind)).read_bytes())
    return digest.hexdigest()
