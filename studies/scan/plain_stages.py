"""The settings of a scan's stages as plain values for JSON, as run keys and ledgers have them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simkit.search.presets import Preset
from studies.scan.user_code import described, described_rule


def later_stage(preset: Preset) -> dict[str, Any]:
    """A later stage as plain values for JSON."""
    return {
        "search": described(preset.search, "search"),
        "driver": driver_of(preset),
        "rule": described_rule(preset.decision_rule()),
        "least_queries": preset.least_queries,
        **where_there(preset, "refine", "turns"),
    }


def driver_of(preset: Preset) -> dict[str, Any]:
    """The settings of its driver as plain values for JSON."""
    settings = asdict(preset.driver)
    if settings["check_batch"] is None:
        del settings["check_batch"]  # which older runs do not have
    return settings


def where_there(preset: Preset, *names: str) -> dict[str, Any]:
    """The settings of these names, which not every stage has, as plain values for JSON."""
    there = {name: asdict(part) for name in names if (part := getattr(preset, name)) is not None}
    if "refine" in there and there["refine"]["standing"] is None:
        del there["refine"]["standing"]  # which older runs do not have
    return there
