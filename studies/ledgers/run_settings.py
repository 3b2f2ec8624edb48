"""From a run in a ledger back to the settings that made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from db.records import RunInfo
from oracles.errors import InvalidSpec
from oracles.oracle import Restriction
from simkit.detectors.registry import current_settings
from simkit.errors import ConfigError
from simkit.search.presets import Preset
from simkit.verdict import RULES
from studies.scan.config import ScanConfig
from studies.scan.user_code import qualified_name

_ABSENT = object()
_WRITTEN_OUT = ("search", "driver", "rule", "synthesis", "refine", "stages", "restriction")


@dataclass(frozen=True)
class OwnCode:
    """What a run used of the user's own code, which a ledger holds only the names and settings of."""

    preset: Preset | None = None
    restriction: Restriction | None = None


def stored_config(info: RunInfo, own: OwnCode = OwnCode()) -> ScanConfig:
    """The settings of a stored run: a scan with them has the same run key, given the same model, images and versions.

    `search`, `driver`, `rule` and `synthesis` hold only what differs from the preset. `name` is not stored:
    `info.model` is it, or the path. Raises ConfigError where this simkit does not know the searcher or one of its
    settings.
    """
    told = _of_a_scan(info)
    try:
        config = _config(info, told, own)
        found = json.loads(json.dumps(config.identity())) | {"preset": told["preset"]}
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"the run's settings are of another simkit or of code of your own: {error}") from None
    except (KeyError, TypeError, AttributeError):  # JSON of another form than any that this simkit writes
        raise ConfigError("the run's settings are not those of a scan, or of another simkit") from None
    if differ := sorted(_differing(found, told)):
        raise ConfigError(f"the run's settings are of other code: {', '.join(differ)} cannot be made as they were")
    return config


def _of_a_scan(info: RunInfo) -> dict[str, Any]:
    told: Any = json.loads(info.config)
    if not isinstance(told, dict):
        raise ConfigError("the run's settings are not those of a scan, or of another simkit")
    if isinstance(detector := told.get("detector"), dict):
        raise ConfigError(
            f"it is a run of the detector {detector.get('kind')} and no scan; its queries cannot be built again"
        )
    return current_settings(told)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for name in one.keys() | other.keys():
        first, second = one.get(name, _ABSENT), other.get(name, _ABSENT)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _differing(first, second, f"{where}{name}.")
        elif first != second:
            yield f"{where}{name}"


def _config(info: RunInfo, told: Mapping[str, Any], own: OwnCode) -> ScanConfig:
    settings = {name: value for name, value in told.items() if name not in _WRITTEN_OUT} | {"data": info.data}
    if own.preset is not None:
        settings["preset"] = own.preset
    if told["restriction"] is not None and own.restriction is None:
        raise ConfigError(f"give the restriction {told['restriction']['kind']} that it ran behind")
    if told["restriction"] is None and own.restriction is not None:
        raise ConfigError("it ran behind no restriction of your own; give none")
    settings["restriction"] = own.restriction
    plain = ScanConfig.of(settings)
    preset, kind = plain.resolved(), told["search"]["kind"]
    if (known := qualified_name(preset.search)) != kind:
        raise ConfigError(f"preset {plain.preset_name} searches with {known}, the run with {kind}")
    changed = {"search": _changed(preset.search, told["search"]), "driver": _changed(preset.driver, told["driver"])}
    if preset.synthesis is not None:
        changed["synthesis"] = _changed(preset.synthesis, told["synthesis"])
    if preset.then is None:  # a scan in stages has the rules of its preset
        changed["rule"] = _changed_rule(plain, told["rule"])
    return ScanConfig.of(settings | changed)


def _changed(base: object, told: Mapping[str, Any]) -> dict[str, Any]:
    """What of `told` differs from the dataclass `base`, nested ones too."""
    assert is_dataclass(base)
    assert not isinstance(base, type)
    known = json.loads(json.dumps(asdict(base)))
    fields = {name: value for name, value in told.items() if name not in ("kind", "code")}
    changed = {name: value for name, value in fields.items() if name not in known or known[name] != value}
    nested = {name: getattr(base, name) for name in changed if is_dataclass(getattr(base, name, None))}
    return changed | {name: _changed(part, told[name]) for name, part in nested.items()}


def _changed_rule(plain: ScanConfig, told: Mapping[str, Any]) -> dict[str, Any]:
    default = plain.resolved_rule()
    if told["name"] == default.name:
        return {} if told["threshold"] == default.threshold else {"threshold": told["threshold"]}
    known = RULES.get(told["name"])
    threshold = {} if known and known.threshold == told["threshold"] else {"threshold": told["threshold"]}
    return {"name": told["name"]} | threshold
