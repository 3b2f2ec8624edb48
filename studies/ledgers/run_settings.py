"""Restores the settings of a run from its ledger."""

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
from simkit.search.refine import RefineConfig
from simkit.verdict import RULES
from studies.scan.config import ScanConfig
from studies.scan.plain_stages import where_there
from studies.scan.user_code import qualified_name

_ABSENT = object()
_WRITTEN_OUT = ("search", "driver", "rule", "synthesis", "refine", "stages", "restriction", "turns")


@dataclass(frozen=True)
class OwnCode:
    """The user's own code in a run, of which a ledger holds only names and settings."""

    preset: Preset | None = None
    restriction: Restriction | None = None


def stored_config(info: RunInfo, own: OwnCode = OwnCode()) -> ScanConfig:
    """The settings of a stored run: a scan with them has the same run key, given the same model, images and versions.

    `search`, `driver`, `rule` and `synthesis` hold only what differs from the preset. `name` is not stored, since
    `info.model` is the name or the path. Raises ConfigError where this version of simkit does not know the searcher or
    one of its settings.
    """
    stored = _of_a_scan(info)
    try:
        config = _config(info, stored, own)
        restored = json.loads(json.dumps(config.identity())) | {"preset": stored["preset"]}
    except (ConfigError, InvalidSpec) as error:
        raise ConfigError(f"the run used another version of simkit or your own code: {error}") from None
    except (KeyError, TypeError, AttributeError):  # JSON that no scan of this version writes
        raise ConfigError("the run is no scan, or was made by another version of simkit") from None
    if differ := sorted(_differing(restored, stored)):
        raise ConfigError(f"the run was made by other code: {', '.join(differ)} cannot be restored")
    return config


def _of_a_scan(info: RunInfo) -> dict[str, Any]:
    stored: Any = json.loads(info.config)
    if not isinstance(stored, dict):
        raise ConfigError("the run is no scan, or was made by another version of simkit")
    if isinstance(detector := stored.get("detector"), dict):
        raise ConfigError(
            f"the run is one of the detector {detector.get('kind')} and no scan; its queries cannot be rebuilt"
        )
    return current_settings(stored)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for name in before.keys() | after.keys():
        first, second = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _differing(first, second, f"{where}{name}.")
        elif first != second:
            yield f"{where}{name}"


def _config(info: RunInfo, stored: Mapping[str, Any], own: OwnCode) -> ScanConfig:
    settings = {name: value for name, value in stored.items() if name not in _WRITTEN_OUT} | {"data": info.data}
    if own.preset is not None:
        settings["preset"] = own.preset
    if stored["restriction"] is not None and own.restriction is None:
        raise ConfigError(f"give the restriction {stored['restriction']['kind']} that the run used")
    if stored["restriction"] is None and own.restriction is not None:
        raise ConfigError("the run used no restriction of your own; give none")
    settings["restriction"] = own.restriction
    plain = ScanConfig.of(settings)
    if plain.resolved().takes_turns and not any("turns" in stage for stage in (stored, *stored.get("stages", ()))):
        settings["turns"] = False
        plain = ScanConfig.of(settings)
    preset, kind = plain.resolved(), stored["search"]["kind"]
    if (current := qualified_name(preset.search)) != kind:
        raise ConfigError(f"preset {plain.preset_name} searches with {current}, the run with {kind}")
    changed: dict[str, Any] = {
        "search": _changed(preset.search, stored["search"]),
        "driver": _changed(preset.driver, {"check_batch": None, **stored["driver"]}),
    }
    if preset.synthesis is not None:
        changed["synthesis"] = _changed(preset.synthesis, stored["synthesis"])
    if (refine := _changed_refinement(preset, stored)) is not None:
        changed["refine"] = refine
    if preset.then is None:  # a scan of several stages has the rules of its preset
        changed["rule"] = _changed_rule(plain, stored["rule"])
    return ScanConfig.of(settings | changed)


def _changed(base: object, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored settings that differ from the dataclass `base`, including nested ones."""
    assert is_dataclass(base)
    assert not isinstance(base, type)
    defaults = json.loads(json.dumps(asdict(base)))
    fields = {name: value for name, value in stored.items() if name not in ("kind", "code")}
    changed = {name: value for name, value in fields.items() if name not in defaults or defaults[name] != value}
    nested = {name: getattr(base, name) for name in changed if is_dataclass(getattr(base, name, None))}
    return changed | {name: _changed(part, stored[name]) for name, part in nested.items()}


def _changed_refinement(preset: Preset, stored: Mapping[str, Any]) -> dict[str, Any] | int | None:
    """The setting `refine` of a stored run; None where it is that of the preset, 0 for no refinement."""
    before = [stage.get("refine") for stage in (stored, *stored.get("stages", ()))]
    now = [json.loads(json.dumps(where_there(stage, "refine"))).get("refine") for stage in preset.stages]
    if before == now:
        return None
    first = next((refine for refine in before if refine is not None), None)
    return 0 if first is None else {"queries": first["queries"], **_changed(RefineConfig(), first)}


def _changed_rule(plain: ScanConfig, stored: Mapping[str, Any]) -> dict[str, Any]:
    default = plain.resolved_rule()
    if stored["name"] == default.name:
        return {} if stored["threshold"] == default.threshold else {"threshold": stored["threshold"]}
    rule = RULES.get(stored["name"])
    threshold = {} if rule and rule.threshold == stored["threshold"] else {"threshold": stored["threshold"]}
    return {"name": stored["name"]} | threshold
