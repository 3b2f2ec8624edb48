"""The niches of a race of families: who breeds, with whom, and who is tried again.

They keep one family, or a class that clean images are drawn to, from crowding out the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simkit.search.contract import BoolArray
from simkit.search.pair_trial import Pair
from simkit.search.patches import PatchPool
from simkit.transforms.breeding import Family

_MATES = 3
"""Number of other candidates for the same class from which a child may take a part (ours)."""

_ROUNDING = 1e-6
"""How far a share may lie above 1 and still pass."""

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Member:
    """A candidate in the pool: its family's number, what the family made, and its strength in multiples of the most."""

    family: int
    candidate: Any
    share: float


def niches(members: Sequence[Member], values: Values, turn: int) -> list[Pair]:
    """The best pair of every family and class: the best of each family first, the families in turn, then the next.

    values: (members, classes), -inf without answers. turn: which family begins.
    """
    kinds = np.array([member.family for member in members], dtype=np.int64)
    lines: list[list[Pair]] = []
    for family in np.unique(kinds):
        rows = np.flatnonzero(kinds == family)
        best, reached = values[rows].argmax(axis=0), values[rows].max(axis=0)
        order = (int(c) for c in np.argsort(-reached, kind="stable") if np.isfinite(reached[c]))
        lines.append([(int(rows[best[c]]), c) for c in order])
    first = turn % max(len(lines), 1)
    return [pair for pair in chain(*zip_longest(*lines[first:], *lines[:first])) if pair is not None]


def mates_of(members: Sequence[Member], values: Values, row: int) -> list[Any]:
    """The best other candidates of the same family for one class. values: (members,), -inf without answers."""
    family, answered = members[row].family, np.flatnonzero(np.isfinite(values))
    order = answered[np.argsort(-values[answered], kind="stable")].tolist()
    best = (members[r].candidate for r in order if r != row and members[r].family == family)
    return list(islice(best, _MATES))


def best_of(members: Sequence[Member], family: int, values: Values, number: int) -> list[Pair]:
    """The best pairs of one family, each candidate once. values: (members, classes), -inf for what is left out."""
    rows = np.array([r for r, member in enumerate(members) if member.family == family], dtype=np.int64)
    reached = values[rows].max(axis=1)
    order = np.argsort(-reached, kind="stable")[:number]
    return [(int(rows[r]), int(values[rows[r]].argmax())) for r in order if np.isfinite(reached[r])]


def ripe(members: Sequence[Member], families: Sequence[Family], pool: PatchPool) -> BoolArray:
    """Which pairs of the pool are weak enough, and have the answers and the success that their family requires, (K, T).

    members: the candidates of the pool.
    """
    own = [families[member.family] for member in members]
    trials = np.array([family.required_trials for family in own])[:, None]
    rates = np.array([family.required_success for family in own])[:, None]
    weak = np.array([member.share <= 1.0 + _ROUNDING for member in members])[:, None]
    return np.asarray(weak & (pool.trials >= trials) & (pool.rates() >= rates))


def grown(old: BoolArray, rows: int) -> BoolArray:
    """The flags (K, T) with rows of False added at the end."""
    new = np.zeros((rows, old.shape[1]), dtype=np.bool_)
    new[: len(old)] = old
    return new
