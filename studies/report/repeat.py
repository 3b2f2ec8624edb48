"""How a run is asked for again: its settings against its preset, and the shell command that gives the same run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from db.records import RunInfo
from oracles import spec as oracle_specs
from oracles.errors import InvalidSpec
from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from studies.report.data import Setting
from studies.scan_config import ScanConfig

_OPTIONS = ("output", "mean", "std", "precision", "chunk", "architecture")
_HAVE_OPTIONS = frozenset({"preset", "oracle", "budget", "seed"})
_SHORT = (*oracle_specs.BUILT_IN, *(f"top{k}" for k in range(1, 11)))


def command_of(info: RunInfo) -> str | None:
    """`simkit scan ...` with the settings of a run; None where its config is not one that this simkit understands.

    MODEL and DATA stand as the ledger names them: a module or images that were handed over in Python have a name only.
    """
    config = config_of(info)
    preset = _as_preset(config)
    if preset is None or preset["search"].get("kind") != config.get("search", {}).get("kind"):
        return None
    threads = _object(info.environment).get("threads")
    words = ["simkit", "scan", info.model, "--data", info.data, "--budget", str(info.budget or 1)]
    words += ["--oracle", _oracle(config["oracle"]), "--preset", config["preset"], "--seed", str(info.seed)]
    words += ["--threads", str(threads)] if threads else []
    changed = dict(_changes(config, preset))
    for name in _OPTIONS:
        if changed.get(name) is not None:
            words += [f"--{name}", _text(changed.pop(name))]
    changed |= {"budget": None} if info.budget is None else {}
    for name, value in changed.items():
        words += ["--set", f"{name}={'none' if value is None else json.dumps(value)}"]
    return shlex.join(words)


def settings_of(info: RunInfo) -> tuple[Setting, ...]:
    """Every setting of a run by its dotted name, those that differ from the preset marked."""
    config = config_of(info)
    changed = dict(_changes(config, _as_preset(config) or config))
    return tuple(Setting(name, json.dumps(value), name in changed) for name, value in _leaves(config))


def config_of(info: RunInfo) -> dict[str, Any]:
    """The run's config, empty where the ledger keeps something else than an object."""
    return _object(info.config)


def oracle_in_words(info: RunInfo) -> str:
    """What the service tells: `scores`, `label`, `top3`, or what it withholds."""
    spec = {name: value for name, value in _object(info.oracle).items() if value is not None and value is not False}
    try:
        if not (short := _oracle(spec)).startswith("{"):
            return short
    except InvalidSpec:
        pass  # of another simkit
    return ", ".join(name if value is True else f"{name} {value}" for name, value in spec.items() if value) or "scores"


def _as_preset(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config of the same preset and service with nothing set; None where this simkit has none such."""
    try:
        plain = ScanConfig.of({"preset": config["preset"], "oracle": config["oracle"]})
    except (KeyError, ConfigError, InvalidSpec):
        return None
    made: dict[str, Any] = json.loads(json.dumps({"preset": plain.preset} | plain.identity()))
    return made


def _changes(config: Mapping[str, Any], preset: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    known = dict(_leaves(preset))
    for name, value in _leaves(config):
        if name.partition(".")[0] not in _HAVE_OPTIONS and (name not in known or known[name] != value):
            yield name, value


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _oracle(spec: Mapping[str, Any]) -> str:
    """A name where the spec has one, else JSON of what it sets."""
    wanted = OracleSpec(**spec)
    short = next((name for name in _SHORT if oracle_specs.load(name) == wanted), None)
    return short or json.dumps(wanted.model_dump(exclude_defaults=True))


def _text(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, list) else str(value)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}
