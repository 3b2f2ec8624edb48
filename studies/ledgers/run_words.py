"""How to reproduce a run: its settings compared with its preset, and the shell command that gives the same run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records import RunInfo
from oracles import spec as oracle_specs
from oracles.answers import top_of
from oracles.errors import InvalidSpec
from oracles.remote.target import is_remote
from oracles.spec import OracleSpec
from simkit.detectors.registry import searched_by
from simkit.errors import ConfigError
from studies.ledgers.run_settings import stored_config
from studies.scan.config import ScanConfig
from studies.scan.overrides import leaves

_OPTIONS = ("output", "output_item", "input_layout", "input_dtype", "mean", "std", "precision", "chunk", "architecture")
_OPTIONS_OF_EVERY_RUN = frozenset({"data", "preset", "oracle", "budget", "seed", "name", "restriction"})
"""Fields of a config that every command sets, or that the command of a stored run cannot set."""

_SHORT = (*oracle_specs.BUILT_IN, *(f"top{k}" for k in range(1, 11)))


def command_of(info: RunInfo) -> tuple[str | None, str]:
    """The `simkit scan` command with the settings of a run; or None and the reason why there is no such command.

    MODEL and DATA are named as in the ledger, where a module or images passed in from Python have only a name. Where a
    service's API key is read is stored nowhere, so that its command has a placeholder, to be left out without a key.
    """
    try:
        config = stored_config(info)
    except ConfigError as error:
        return None, str(error)
    threads = _object(info.environment).get("threads")
    words = ["simkit", "scan", info.model, "--data", info.data, "--budget", str(info.budget or 1)]
    words += ["--oracle", _oracle(config.oracle), "--preset", config.preset_name, "--seed", str(info.seed)]
    words += ["--threads", str(threads)] if threads else []
    words += ["--api-key-env", "NAME_OF_VARIABLE"] if is_remote(info.model) else []
    changed = _changed(config)
    for name in _OPTIONS:
        if changed.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", _text(changed.pop(name))]
    changed |= {"budget": None} if info.budget is None else {}
    for name, value in changed.items():
        words += ["--set", f"{name}={'none' if value is None else json.dumps(value)}"]
    return shlex.join(words), ""


def settings_of(info: RunInfo) -> tuple[Setting, ...]:
    """Every setting of a run by its dotted name, marked where it differs from the preset or the default."""
    try:
        changed = _changed(stored_config(info))
    except ConfigError:
        changed = {}
    return tuple(Setting(name, json.dumps(value), name in changed) for name, value in leaves(_object(info.config)))


def detector_of(info: RunInfo) -> str:
    """The preset of a scan, or the name of another detector."""
    return searched_by(_object(info.config)) or "unknown"


def caller_of(config: Mapping[str, Any]) -> str | None:
    """The id of the API key whose run of `simkit serve` this is, from a run's config; None for a run of a detector."""
    service = config.get("service")
    return str(service["key"]) if isinstance(service, dict) and "key" in service else None


def oracle_in_words(info: RunInfo, codecs: Sequence[str] = ()) -> str:
    """The answers of the run's service, as in `scores`, `label`, `top3`, or its restrictions. codecs: see
    `answered_in_words`."""
    return answered_in_words(_object(info.oracle), codecs)


def answered_in_words(oracle: Mapping[str, Any], codecs: Sequence[str]) -> str:
    """`service_in_words`; where it restricts nothing, the top classes that the service answered by itself.

    codecs: of the stored answers, see `oracles.answers.encode`.
    """
    words, tops = service_in_words(oracle), [top_of(codec) for codec in codecs]
    known = [top for top in tops if top is not None]
    if words != "scores" or not known or len(known) < len(tops):
        return words
    return f"top{max(known)}"


def service_in_words(oracle: Mapping[str, Any]) -> str:
    """The answers of a service in words, from the plain values of an `OracleSpec`."""
    spec = {name: value for name, value in oracle.items() if value is not None and value is not False}
    try:
        if not (short := _oracle(OracleSpec(**spec))).startswith("{"):
            return short
    except InvalidSpec:
        pass  # the spec is of another version of simkit
    return ", ".join(_in_words(name, value) for name, value in spec.items() if value) or "scores"


def _in_words(name: str, value: Any) -> str:
    if name == "watch" and isinstance(value, dict):
        return f"watched by {value.get('detector')} ({value.get('action')})"
    return name if value is True else f"{name} {value}"


def _changed(config: ScanConfig) -> dict[str, Any]:
    """The settings that differ from the preset or the default by dotted name, except those that every command sets."""
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude=set(_OPTIONS_OF_EVERY_RUN))
    return {name: value for name, value in leaves(settings) if value != {}}


def _oracle(spec: OracleSpec) -> str:
    """The name of a spec if it has one, else the JSON of its settings."""
    short = next((name for name in _SHORT if oracle_specs.load(name) == spec), None)
    return short or json.dumps(spec.model_dump(mode="json", exclude_defaults=True))


def _text(value: Any) -> str:
    return ",".join(map(repr, value)) if isinstance(value, list) else str(value)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Setting:
    """One setting by its dotted name. changed: whether it differs from the preset or the default."""

    name: str
    value: str
    changed: bool
