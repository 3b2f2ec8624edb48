"""Modules of the user's own: imported and run as such, so only for what the user typed."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from oracles.errors import one_line


def imported(module_name: str, name: str) -> Any:
    """What `name`, dotted where it is inside of something, is in a module; those of the working folder are found too.

    Raises ImportError, in one line, whatever goes wrong: also where the module raises, or wants to end the program.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # a command's path begins at its own folder, not where the user stands
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ImportError(f"cannot import {module_name}: {one_line(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ImportError(f"{module_name} has no {name}")
        found = getattr(found, part)
    return found
