r"""The race of families with and without niches, as detectors of your own.

simkit study scan ZOO --data DATA --budget 20000 --detector benchmarks.niche_variants:NICHES \
    --detector benchmarks.niche_variants:ONE_POOL --out results/niches.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from simkit.search.contract import Task
from simkit.search.family_race import FamilyRace, FamilyRaceConfig
from simkit.search.niches import Member, mates_of
from simkit.search.presets import Preset, preset


class OnePoolRace(FamilyRace):
    """A race in which the best pairs of all have the children, of whatever family and class they are."""

    def _children(self, rng: np.random.Generator) -> Iterator[Member]:
        values, members = self._values(), self._pool.candidates.tolist()
        order = np.argsort(-values, axis=None, kind="stable")[: self._config.parents]
        pairs = [divmod(int(place), values.shape[1]) for place in order if np.isfinite(values.flat[place])]
        for number in range(self._config.children if pairs else 0):
            row, target = pairs[number % len(pairs)]
            member: Member = members[row]
            child = self._breeders[member.family].child(
                member.candidate, mates_of(members, values[:, target], row), rng
            )
            yield self._member(member.family, child)


@dataclass(frozen=True)
class OnePoolConfig(FamilyRaceConfig):
    """The settings of a race of families, for a race without niches."""

    def search(self, task: Task, seed: int) -> OnePoolRace:
        return OnePoolRace(self, task, seed)


def _long(search: FamilyRaceConfig) -> Preset:
    """The preset `race-families` with this search, by scores and labels, without refinement."""
    return replace(preset("race-families"), search=search, labels=None, refine=None)


_TODAY = preset("race-families").search
assert isinstance(_TODAY, FamilyRaceConfig)
_WHOLE = replace(_TODAY, queries=6000)

NICHES = _long(_WHOLE)
"""Today's niches, with 6,000 queries."""

ONE_POOL = _long(OnePoolConfig(**{f.name: getattr(_WHOLE, f.name) for f in fields(_WHOLE)}))
"""The same without niches for breeding; each family still has its retests."""
