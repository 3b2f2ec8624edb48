"""`python:package.module:name` on the command line: the user's own code, imported and run as such."""

from __future__ import annotations

import hashlib
import inspect
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracles.errors import ModelError
from studies.user_code import imported

PREFIX = "python:"


def import_model(address: str) -> Any:
    """What `python:package.module:name` names; modules of the current folder are found too.

    Raises ModelError if the text has another form, the module cannot be imported, or has no such name.
    """
    module_name, colon, name = address.removeprefix(PREFIX).partition(":")
    if not (colon and module_name and name):
        raise ModelError(f"{address}: write python:package.module:function")
    try:
        return imported(module_name, name)
    except ImportError as error:
        raise ModelError(f"{address}: {error}") from error


def source_sha256(address: str, model: object, *known: str | None) -> str:
    """Of the address, its module's file, the file that defines `model`, and `known`; not of what those files import."""
    digest = hashlib.sha256(repr((address, *known)).encode())
    kind: Any = model if inspect.isroutine(model) or inspect.isclass(model) else type(model)
    module: Any = sys.modules.get(address.removeprefix(PREFIX).partition(":")[0])
    for thing in (module, kind):
        with suppress(TypeError, OSError):  # what has no file of Python: built in, or compiled
            digest.update(Path(inspect.getfile(thing)).read_bytes())
    return digest.hexdigest()
