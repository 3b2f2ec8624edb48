"""How a run is asked for again: its settings against its preset, and the shell command that gives the same run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.records import RunInfo
from oracles import spec as oracle_specs
from oracles.errors import InvalidSpec
from oracles.spec import OracleSpec
from simkit.detectors.registry import searched_by
from simkit.errors import ConfigError
from studies.ledgers.run_settings import stored_config
from studies.scan.config import ScanConfig
from studies.scan.overrides import leaves

_OPTIONS = ("output", "mean", "std", "precision", "chunk", "architecture")
_SAID = frozenset({"data", "preset", "oracle", "budget", "seed", "name", "restriction"})
"""Fields of a config that have their place in every command, or that no command of a stored run has."""

_SHORT = (*oracle_specs.BUILT_IN, *(f"top{k}" for k in range(1, 11)))


def command_of(info: RunInfo) -> tuple[str | None, str]:
    """`simkit scan ...` with the settings of a run; or None, and why there is no such command.

    MODEL and DATA stand as the ledger names them: a module or images that were handed over in Python have a name only.
    """
    try:
        config = stored_config(info)
    except ConfigError as error:
        return None, str(error)
    threads = _object(info.environment).get("threads")
    words = ["simkit", "scan", info.model, "--data", info.data, "--budget", str(info.budget or 1)]
    words += ["--oracle", _oracle(config.oracle), "--preset", config.preset_name, "--seed", str(info.seed)]
    words += ["--threads", str(threads)] if threads else []
    changed = _changed(config)
    for name in _OPTIONS:
        if changed.get(name) is not None:
            words += [f"--{name}", _text(changed.pop(name))]
    changed |= {"budget": None} if info.budget is None else {}
    for name, value in changed.items():
        words += ["--set", f"{name}={'none' if value is None else json.dumps(value)}"]
    return shlex.join(words), ""


def settings_of(info: RunInfo) -> tuple[Setting, ...]:
    """Every setting of a run by its dotted name, those that differ from the preset or the default marked."""
    try:
        changed = _changed(stored_config(info))
    except ConfigError:
        changed = {}
    return tuple(Setting(name, json.dumps(value), name in changed) for name, value in leaves(_object(info.config)))


def detector_of(info: RunInfo) -> str:
    """The preset of a scan, or the name of another detector."""
    return searched_by(_object(info.config)) or "unknown"


def oracle_in_words(info: RunInfo) -> str:
    """What the service tells: `scores`, `label`, `top3`, or what it withholds."""
    return service_in_words(_object(info.oracle))


def service_in_words(oracle: Mapping[str, Any]) -> str:
    """The same, of the plain values of an `OracleSpec`."""
    spec = {name: value for name, value in oracle.items() if value is not None and value is not False}
    try:
        if not (short := _oracle(OracleSpec(**spec))).startswith("{"):
            return short
    except InvalidSpec:
        pass  # of another simkit
    return ", ".join(name if value is True else f"{name} {value}" for name, value in spec.items() if value) or "scores"


def _changed(config: ScanConfig) -> dict[str, Any]:
    """By its dotted name what is not as the preset or the default has it, but for what every command says."""
    told = config.model_dump(mode="json", exclude_defaults=True, exclude=set(_SAID))
    return {name: value for name, value in leaves(told) if value != {}}


def _oracle(spec: OracleSpec) -> str:
    """A name where the spec has one, else JSON of what it sets."""
    short = next((name for name in _SHORT if oracle_specs.load(name) == spec), None)
    return short or json.dumps(spec.model_dump(mode="json", exclude_defaults=True))


def _text(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, list) else str(value)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Setting:
    """One setting by its dotted name. changed: not as the preset or the default has it."""

    name: str
    value: str
    changed: bool
