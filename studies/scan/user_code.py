"""Code of the user's own in a scan: how it is found by its name, and what a run knows it by."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from oracles.errors import ModelError, one_line
from simkit.errors import ConfigError
from simkit.verdict import RULES, Rule

_NAME = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")
_OWN_PACKAGES = ("simkit", "oracles", "studies")
"""Their code is known by simkit's version, which is part of every run's key."""


def is_reference(name: str) -> bool:
    """Whether `name` is of the form `package.module:NAME`."""
    return _NAME.fullmatch(name) is not None


def referred(name: str) -> Any:
    """What `package.module:NAME` names; the module is imported, also from the working folder.

    Runs the user's own code, so it is only for what the user typed. Raises ConfigError if there is no such thing.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(f"{name!r} names nothing in a module; write package.module:NAME")
    try:
        return imported(match[1], match[2])
    except ImportError as error:
        raise ConfigError(f"{name}: {error}") from error


def described(extension: Any, method: str) -> dict[str, Any]:
    """What a run knows a searcher or restriction by: the class, every field, and a hash of the file it is written in.

    method: what it must have. Raises ConfigError unless it is a frozen dataclass whose fields JSON can hold.
    """
    kind = qualified_name(extension)
    if not callable(getattr(extension, method, None)):
        raise ConfigError(f"{kind} has no method {method}; see the how-to pages of the documentation")
    if isinstance(extension, type):
        raise ConfigError(f"{kind} is a class; name an instance of it in its module, and give that")
    if not is_dataclass(extension) or not _is_frozen(extension):
        raise ConfigError(f"{kind} is no frozen dataclass; make it one, and give an instance, so that runs can tell it")
    known = _known(extension)
    for name, value in known.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{kind}.{name}: {error}; use numbers, text, flags, and tuples or dicts of them"
            ) from None
    return known


def _known(extension: Any) -> dict[str, Any]:
    kind, values = qualified_name(extension), {f.name: getattr(extension, f.name) for f in fields(extension)}
    if taken := values.keys() & {"kind", "code"}:
        raise ConfigError(f"{kind} has a field {min(taken)!r}, which a run's record keeps for itself; rename it")
    return {"kind": kind} | {name: _plain(value) for name, value in values.items()} | _code(type(extension))


def _plain(value: Any) -> Any:
    """With dataclasses inside as their class, fields and code too: two classes may have the same fields."""
    if isinstance(value, Rule):
        return described_rule(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _known(value)
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list | tuple) else value


def described_rule(rule: Rule) -> dict[str, Any]:
    """What a run knows a decision rule by. Raises ConfigError for another rule under the name of a known one."""
    known = {"name": rule.name, "threshold": rule.threshold}
    built_in = RULES.get(rule.name)
    if built_in is None:
        return known | {"kind": f"{rule.decide.__module__}.{rule.decide.__qualname__}"} | _code(rule.decide)
    if built_in.decide is not rule.decide:
        raise ConfigError(f"there is a rule {rule.name!r} already; give yours another name")
    return known


def qualified_name(thing: Any) -> str:
    """The name that run keys, ledgers and lines of results keep of a class, or of the class of an object.

    It is the class's `known_as` where there is one, so that a class may move to another file and still be known.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    known: str | None = vars(kind).get("known_as")
    return f"{kind.__module__}.{kind.__qualname__}" if known is None else known


def _is_frozen(extension: Any) -> bool:
    return bool(extension.__dataclass_params__.frozen)


def _code(thing: Any) -> dict[str, str]:
    """A hash of the source file, so that changed code is another run and not answered from an old one."""
    if thing.__module__.split(".")[0] in _OWN_PACKAGES:
        return {}
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if file is None:
        warnings.warn(
            f"{thing.__qualname__} is written in no file: a ledger cannot tell its versions apart; "
            "after a change, scan into a fresh one",
            stacklevel=2,
        )
        return {}
    return {"code": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


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
