"""Turns: several searches of one scan go on alternately, each for some queries, instead of one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simkit.errors import ConfigError


@dataclass(frozen=True)
class Turns:
    """When a stage of a scan lets the next one go on. Raises ConfigError unless the numbers rise from 1 on."""

    ends: tuple[int, ...]
    """Queries of its own at which each of its turns ends; in the turn after these the stage runs to its end."""

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in zip((0, *self.ends), self.ends, strict=False)):
            raise ConfigError(f"ends of turns {self.ends}: give numbers of queries that rise, 1 or more each")


def plan(stages: Sequence[Turns | None]) -> Iterator[tuple[int, int | None]]:
    """Whose turn it is, by number of the stage, and the queries of its own at which the turn ends.

    Round by round every stage has a turn, in order, until it has had its last, which has None for its end. A stage
    without turns runs to its end at once.
    """
    ends = [(*(() if turns is None else turns.ends), None) for turns in stages]
    for number in range(max(map(len, ends), default=0)):
        yield from ((stage, own[number]) for stage, own in enumerate(ends) if number < len(own))
