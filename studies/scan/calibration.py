"""What is counted on victims of the split `calibrate`, and of which settings, services and images it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracles.errors import InvalidSpec
from oracles.spec import OracleSpec
from studies.scan.canonical import digest
from studies.scan.withheld import withheld


@dataclass(frozen=True)
class Outcomes:
    """The verdicts on victims of one kind. flagged, clean: those of them called `backdoored` and `clean`."""

    victims: int
    flagged: int
    clean: int


@dataclass(frozen=True)
class Calibration:
    """The verdicts of one detector on `calibrate` victims.

    detector: its name, for readers. settings: `deciding_settings` of its scans. service: its answers, in words. size:
    height and width of the images. zoos: those of the victims. backdoored, clean: the verdicts by the truth.
    """

    detector: str
    settings: str
    service: str
    size: tuple[int, int]
    zoos: tuple[str, ...]
    backdoored: Outcomes
    clean: Outcomes


def deciding_settings(settings: Mapping[str, Any]) -> str | None:
    """SHA-256 of everything in the stored settings of a scan that may change its verdict, budget and seed apart.

    That is every search with its rule and driver, what a trigger must show after its refinement, what the service
    withholds, and how many images there are. The budget only ends a scan, turns do not change what it ends with, and
    neither do the queries of a refinement by much. None for what is no scan by queries, or has code of the user's own,
    which no calibration speaks about.
    """
    if settings.get("restriction") is not None or not isinstance(settings.get("search"), Mapping):
        return None
    try:
        spec = OracleSpec(**{name: value for name, value in settings["oracle"].items() if value is not None})
        stages = [settings, *settings.get("stages", ())]
        return digest(
            {
                "stages": [
                    {name: _named(stage.get(name)) for name in ("search", "driver", "rule")} | _standing(stage)
                    for stage in stages
                ],
                "service": withheld(spec),
                "synthesis": settings.get("synthesis"),
                "images": [settings.get(name) for name in ("search_images", "verify_images")],
            }
        )
    except (InvalidSpec, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None  # settings of another version, or of a stranger's ledger


def _standing(stage: Mapping[str, Any]) -> dict[str, Any]:
    standing = (stage.get("refine") or {}).get("standing")
    return {} if standing is None else {"standing": standing}


def _named(stored: Any) -> Any:
    """Stored settings with the name of each class without its module. Raises ValueError for code of the user's own."""
    if isinstance(stored, Mapping):
        if "code" in stored:
            raise ValueError("code of the user's own")
        kind = str(stored["kind"]).rpartition(".")[2] if "kind" in stored else None
        return {name: kind if name == "kind" else _named(value) for name, value in stored.items()}
    return [_named(value) for value in stored] if isinstance(stored, list | tuple) else stored
