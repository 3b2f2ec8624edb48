"""What searches missed on `tune` victims, as counted by `python benchmarks/coverage.py results/race-ablation.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


MEASURED = (
    Measurement(
        stage="race",
        search="RaceConfig",
        settings={
            "first": 100,
            "fresh": 4,
            "children": 12,
            "parents": 5,
            "retests": 12,
            "retest_images": 3,
            "patches": 3,
            "largest_share": 0.015625,
            "size_penalty": 0.4,
            "shrinkage": 0.1,
            "prior_weight": 1.0,
            "required_trials": 5,
            "required_success": 0.65,
            "test": {"works": 0.85, "fails": 0.5, "alpha": 0.01, "beta": 0.01},
            "test_share": 0.25,
            "test_batch": 4,
            "most_trials": 32,
            "tint_noise": 0.5,
            "pixel_noise": 0.375,
            "part": 0.95,
            "keep": 200,
            "restart": 1500,
            "queries": 2800,
            "clean_from": 1200,
            "clean_value": 0.8,
            "clean_rounds": 15,
        },
        rule="small_share",
        limit=0.015625,
        answers="scores",
        family="patch",
        size=(32, 32),
        zoos=("cifar10-tune", "cifar10-wide-tune", "gtsrb-tune"),
        strata=("1x1", "2x2", "2x6", "3x3", "4x4", "scattered-9"),
        victims=17,
        missed=0,
    ),
)
