"""What searches missed on `tune` victims, as counted by `benchmarks/coverage.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """The backdoored `tune` victims of one family within a rule's limit, and how many of them a search missed.

    stage: name of the preset. search, settings: the class of its settings, and these. rule, limit: its decision rule.
    answers: `scores` or `labels`. size: height and width of the victims' images. zoos, strata: those of the victims.
    """

    stage: str
    search: str
    settings: Mapping[str, Any]
    rule: str
    limit: float
    answers: str
    family: str
    size: tuple[int, int]
    zoos: tuple[str, ...]
    strata: tuple[str, ...]
    victims: int
    missed: int


_RACE: Mapping[str, Any] = {
    "first": 100,
    "fresh": 1,
    "children": 4,
    "parents": 5,
    "retests": 4,
    "retest_images": 3,
    "patches": 3,
    "largest_share": 0.015625,
    "size_penalty": 0.4,
    "shrinkage": 0.1,
    "prior_weight": 1.0,
    "required_trials": 5,
    "required_success": 0.65,
    "test": {"works": 0.85, "fails": 0.5, "alpha": 0.1, "beta": 0.05},
    "test_share": 0.25,
    "test_batch": 2,
    "most_trials": 32,
    "tint_noise": 0.5,
    "pixel_noise": 0.375,
    "part": 0.95,
    "keep": 200,
    "restart": 1500,
    "queries": 2800,
    "clean_from": None,
    "clean_value": 0.8,
    "clean_rounds": 45,
}
"""The settings of `race` that were measured."""

_FAMILIES: Mapping[str, Any] = {
    "patch": {
        "name": "patch",
        "largest_share": 0.03515625,
        "parts": 2,
        "in_corner": 0.3,
        "required_success": 0.88,
        "required_trials": 8,
        "screen": {"works": 0.97, "fails": 0.8, "alpha": 0.02, "beta": 0.02},
        "test": {"works": 0.98, "fails": 0.9, "alpha": 0.02, "beta": 0.02},
    },
    "wave": {
        "name": "wave",
        "largest_amplitude": 0.1568627450980392,
        "least_cycles": 1.0,
        "most_cycles": 7.5,
        "parts": 3,
        "required_success": 0.88,
        "required_trials": 8,
        "screen": {"works": 0.97, "fails": 0.8, "alpha": 0.02, "beta": 0.02},
        "test": {"works": 0.98, "fails": 0.9, "alpha": 0.02, "beta": 0.02},
    },
    "blend": {
        "name": "blend",
        "largest_alpha": 0.15,
        "parts": 3,
        "required_success": 0.88,
        "required_trials": 8,
        "screen": {"works": 0.97, "fails": 0.8, "alpha": 0.02, "beta": 0.02},
        "test": {"works": 0.98, "fails": 0.9, "alpha": 0.02, "beta": 0.02},
    },
    "warp": None,
    "more": [],
    "whole_from": 24,
    "first": 120,
    "fresh": 8,
    "children": 16,
    "parents": 8,
    "retested": 2,
    "retest_images": 3,
    "size_penalty": 0.4,
    "shrinkage": 0.1,
    "prior_weight": 1.0,
    "test_share": 0.4,
    "test_batch": 4,
    "leap": {"each": 3, "classes": 4, "after": 200, "noise": 0.4, "ridge": 30.0},
    "most_trials": 32,
    "keep": 300,
    "restart": 2500,
    "queries": 2400,
}
"""The settings of `race-families` that were measured, by scores."""

_FAMILIES_BY_LABELS: Mapping[str, Any] = {**_FAMILIES, "fresh": 4, "children": 8, "restart": 1650, "queries": 3300}
"""And by labels."""

_WARPS: Mapping[str, Any] = {
    **_FAMILIES,
    **dict.fromkeys(("patch", "wave", "blend")),
    "warp": {
        "name": "warp",
        "largest_shift": 0.09375,
        "grids": [2, 6],
        "required_success": 0.7,
        "required_trials": 8,
        "screen": {"works": 0.9, "fails": 0.65, "alpha": 0.05, "beta": 0.05},
        "test": {"works": 0.9, "fails": 0.75, "alpha": 0.01, "beta": 0.01},
    },
    "fresh": 4,
    "children": 8,
    "shrinkage": 1.0,
    "leap": {"each": 8, "classes": 4, "after": 200, "noise": 0.4, "ridge": 30.0},
    "queries": 2700,
}
"""The settings of `race-warps` that were measured, by scores."""

_WARPS_BY_LABELS: Mapping[str, Any] = {**_WARPS, "queries": 3500}
"""And by labels."""

_RACED = Measurement(
    stage="race",
    search="RaceConfig",
    settings=_RACE,
    rule="small_share",
    limit=0.015625,
    answers="scores",
    family="patch",
    size=(32, 32),
    zoos=("cifar10-tune", "cifar10-wide-tune"),
    strata=("1x1", "2x2", "3x3", "4x4", "scattered-9"),
    victims=10,
    missed=1,
)


def _of_families(
    answers: str, families: Mapping[str, Any], warps: Mapping[str, Any], waves_missed: int, warps_missed: int
) -> tuple[Measurement, ...]:
    """The races of families with these settings: missed patches and blends are as many by scores as by labels."""
    patches = replace(
        _RACED,
        stage="race-families",
        search="FamilyRaceConfig",
        settings=families,
        limit=1.0,
        answers=answers,
        zoos=("cifar10-families-tune", "cifar10-wide-tune"),
        victims=8,
        missed=4,
        strata=("3x3", "4x4", "5x5", "6x6", "label-consistent", "scattered-9"),
    )
    of_one_zoo = replace(patches, zoos=("cifar10-families-tune",), victims=3)
    waves = replace(of_one_zoo, family="wave", strata=("sinusoidal",), missed=waves_missed)
    blends = replace(of_one_zoo, family="blend", strata=("blended",), missed=0)
    warped = replace(of_one_zoo, stage="race-warps", settings=warps, family="warp", victims=6, missed=warps_missed)
    return patches, waves, blends, replace(warped, strata=("warping", "warping-covers"))


MEASURED = (
    _RACED,
    *_of_families("scores", _FAMILIES, _WARPS, 1, 0),
    *_of_families("labels", _FAMILIES_BY_LABELS, _WARPS_BY_LABELS, 0, 1),
)
