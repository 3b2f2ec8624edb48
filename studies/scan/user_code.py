"""User code in a scan: models that are functions, and how code enters the run key."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from oracles.errors import ModelError
from simkit.errors import ConfigError
from simkit.references import imported
from simkit.verdict import RULES, Rule

_OWN_PACKAGES = ("simkit", "oracles", "studies")
"""Packages whose code is identified by simkit's version, which is part of every run key."""


def described(extension: Any, method: str) -> dict[str, Any]:
    """The identity of a searcher, restriction or detector: its class, all fields, and a hash of its source file.

    method: the name of a method that it must have. Raises ConfigError unless it is a frozen dataclass whose fields JSON
    can hold.
    """
    kind = qualified_name(extension)
    if not callable(getattr(extension, method, None)):
        raise ConfigError(f"{kind} has no method {method}; see the how-to pages of the documentation")
    if isinstance(extension, type):
        raise ConfigError(f"{kind} is a class; name an instance of it in its module")
    if not is_dataclass(extension) or not _is_frozen(extension):
        raise ConfigError(f"{kind} is no frozen dataclass, which runs are identified by; make it one")
    identity = _identity(extension)
    for name, value in identity.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{kind}.{name}: {error}; use numbers, text, booleans, and tuples or dicts of them"
            ) from None
    return identity


def _identity(extension: Any) -> dict[str, Any]:
    kind, values = qualified_name(extension), {f.name: getattr(extension, f.name) for f in fields(extension)}
    if taken := values.keys() & {"kind", "code"}:
        raise ConfigError(f"{kind} has a field {min(taken)!r}, which is reserved in the record of a run; rename it")
    return {"kind": kind} | {name: _plain(value) for name, value in values.items()} | _code(type(extension))


def _plain(value: Any) -> Any:
    """A plain value; nested dataclasses give class, fields and code, since two classes may have the same fields."""
    if isinstance(value, Rule):
        return described_rule(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _identity(value)
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list | tuple) else value


def described_rule(rule: Rule) -> dict[str, Any]:
    """The identity of a decision rule. Raises ConfigError for another rule under the name of a built-in one."""
    identity = {"name": rule.name, "threshold": rule.threshold}
    built_in = RULES.get(rule.name)
    if built_in is None:
        return identity | {"kind": f"{rule.decide.__module__}.{rule.decide.__qualname__}"} | _code(rule.decide)
    if built_in.decide is not rule.decide:
        raise ConfigError(f"there is a rule {rule.name!r} already; give yours another name")
    return identity


def qualified_name(thing: Any) -> str:
    """The name of a class, or of an object's class, in run keys, ledgers and result lines.

    It is the class's `known_as` if set, so that a class keeps its name when it moves to another file.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    fixed: str | None = vars(kind).get("known_as")
    return f"{kind.__module__}.{kind.__qualname__}" if fixed is None else fixed


def _is_frozen(extension: Any) -> bool:
    return bool(extension.__dataclass_params__.frozen)


def is_simkits(thing: Any) -> bool:
    """Whether a class or a function belongs to simkit."""
    return thing.__module__.split(".")[0] in _OWN_PACKAGES


def _code(thing: Any) -> dict[str, str]:
    """A hash of the source file, so that changed code starts a new run."""
    if is_simkits(thing):
        return {}
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if file is None:
        warnings.warn(
            f"{thing.__qualname__} has no source file, so a ledger cannot distinguish its versions; "
            "use a new ledger after a change",
            stacklevel=2,
        )
        return {}
    return {"code": hashlib.sha256(Path(file).read_bytes()).hexdigest()}


PREFIX = "python:"


def import_model(address: str) -> Any:
    """The object that `python:package.module:name` names; the module may also be in the working folder.

    Raises ModelError if the text has another form, the module cannot be imported, or it has no such name.
    """
    module_name, colon, name = address.removeprefix(PREFIX).partition(":")
    if not (colon and module_name and name):
        raise ModelError(f"{address}: write python:package.module:function")
    try:
        return imported(module_name, name)
    except ImportError as error:
        raise ModelError(f"{address}: {error}") from error


def source_sha256(address: str, model: object, *more: str | None) -> str:
    """A hash of the address, its module's file, the file that defines `model`, and `more`, but not of their imports."""
    digest = hashlib.sha256(repr((address, *more)).encode())
    kind: Any = model if inspect.isroutine(model) or inspect.isclass(model) else type(model)
    module: Any = sys.modules.get(address.removeprefix(PREFIX).partition(":")[0])
    for thing in (module, kind):
        with suppress(TypeError, OSError):  # built-in and compiled objects have no Python file
            digest.update(Path(inspect.getfile(thing)).read_bytes())
    return digest.hexdigest()
