"""What a search missed, counted on victims of the split `tune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """The backdoored `tune` victims of one family within a rule's limit, and how many of them a search missed.

    stage: name of the preset. search, settings: the class of its settings, and the digest of those in effect. rule,
    limit: its decision rule. answers: `scores` or `labels`. size: height and width of the victims' images. zoos,
    strata: those of the victims.
    """

    stage: str
    search: str
    settings: str
    rule: str
    limit: float
    answers: str
    family: str
    size: tuple[int, int]
    zoos: tuple[str, ...]
    strata: tuple[str, ...]
    victims: int
    missed: int


def in_effect(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a search that its answers depend on, once it runs.

    Those of an early end that it does not have are left out, and the smallest image that it takes.
    """
    off: tuple[str, ...] = ("whole_from",)
    if "clean_from" in settings and settings["clean_from"] is None:
        off += ("clean_value", "clean_rounds")
    return {name: value for name, value in settings.items() if name not in off}
