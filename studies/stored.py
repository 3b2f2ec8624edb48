"""From a run in a ledger back to the settings that made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from db.records import RunInfo
from oracles.errors import InvalidSpec
from simkit.errors import ConfigError
from simkit.verdict import RULES
from studies.scan_config import ScanConfig


def stored_config(info: RunInfo) -> ScanConfig:
    """The settings of a stored run: a scan with them has the same run key, given the same model, images and versions.

    `search`, `driver` and `rule` hold only what differs from the preset. `name` is not stored: `info.model` is it, or
    the path. Raises ConfigError where this simkit does not know the searcher or one of its settings.
    """
    try:
        return _config(info)
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"the run's settings are of another simkit or of code of your own: {error}") from None


def _config(info: RunInfo) -> ScanConfig:
    told = json.loads(info.config)
    own = {name: value for name, value in told.items() if name not in ("search", "driver", "rule")}
    plain = ScanConfig.of(own | {"data": info.data})
    preset, search = plain.resolved(), dict(told["search"])
    if (kind := search.pop("kind", None)) != type(preset.search).__name__:
        raise ConfigError(f"preset {plain.preset} searches with {type(preset.search).__name__}, the run with {kind}")
    changed = {"search": _changed(preset.search, search), "driver": _changed(preset.driver, told["driver"])}
    return ScanConfig.of(own | {"data": info.data} | changed | {"rule": _changed_rule(plain, told["rule"])})


def _changed(base: object, told: Mapping[str, Any]) -> dict[str, Any]:
    """What of `told` differs from the dataclass `base`, nested ones too."""
    assert is_dataclass(base)
    assert not isinstance(base, type)
    known = json.loads(json.dumps(asdict(base)))
    if missing := known.keys() - told.keys():
        raise ConfigError(f"{type(base).__name__} has a setting {min(missing)!r} that the run does not tell")
    changed = {name: value for name, value in told.items() if name not in known or known[name] != value}
    nested = {name: getattr(base, name) for name in changed if is_dataclass(getattr(base, name, None))}
    return changed | {name: _changed(part, told[name]) for name, part in nested.items()}


def _changed_rule(plain: ScanConfig, told: Mapping[str, Any]) -> dict[str, Any]:
    default = plain.resolved_rule()
    name = {} if told["name"] == default.name else {"name": told["name"]}
    known = RULES.get(told["name"])
    return name if known and known.threshold == told["threshold"] else name | {"threshold": told["threshold"]}
