"""What a search missed, counted on victims of the split `tune`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """The backdoored `tune` victims of one family within a rule's limit, and how many of them a search missed.

    stage: name of the preset. search, settings: the class of its settings, and their digest. rule, limit: its decision
    rule. answers: `scores` or `labels`. size: height and width of the victims' images. zoos, strata: those of the
    victims.
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
