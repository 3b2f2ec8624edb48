"""Settings on the command line, `--set KEY=VALUE`, for every setting of every spec."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simkit.errors import ConfigError


def with_settings(fields: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A copy of `fields` with each `KEY=VALUE` applied; a dot in a key addresses a table, as in `train.epochs=3`.

    VALUE is read as TOML (`3`, `0.5`, `true`, `[1, 2]`), as None if it is `none`, and otherwise as text. The last of
    equal keys wins. Raises ConfigError for a setting without `=`, and for a key inside something that is no table.
    """
    merged = dict(fields)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (equals and all(key.split("."))):
            raise ConfigError(f"--set {setting!r}: write KEY=VALUE, for example models=8")
        merged = put(merged, key, _parse(value), f"--set {setting!r}")
    return merged


def put(fields: Mapping[str, Any], key: str, value: Any, where: str) -> dict[str, Any]:
    """A copy of `fields` with `value` under `key`; a dot in the key addresses a table.

    where: prefix of the message. Raises ConfigError where a part of the key is no table.
    """
    name, _, rest = key.partition(".")
    if not rest:
        return {**fields, name: value}
    table = fields.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: {name} is a single value and has no {rest.partition('.')[0]}")
    return {**fields, name: put(table, rest, value, where)}


def whole_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """The numbers of an option such as `1000,3000`; empty where it is not given. Raises ConfigError."""
    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"{option} {text!r}: write numbers of queries, for example 1000,3000,10000") from None


def _parse(value: str) -> Any:
    if value == "none":
        return None
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # ValueError: also a number of thousands of digits
        return value
    return parsed["value"] if len(parsed) == 1 else value  # a line feed in the value could start another key


def leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested tables by its dotted name."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
