"""Niches: one pair of every family and class, the families in turn."""

from __future__ import annotations

import numpy as np

from simkit.search.niches import Member, best_of, grown, mates_of, niches

NONE = -np.inf
MEMBERS = [Member(0, "a", 1.0), Member(0, "b", 1.0), Member(1, "c", 1.0), Member(1, "d", 1.0), Member(0, "e", 1.0)]
VALUES = np.array([[5.0, 1.0], [4.0, 2.0], [0.5, 0.1], [0.2, 0.3], [NONE, NONE]])


def test_each_family_and_class_has_its_best_pair_and_families_take_turns() -> None:
    assert niches(MEMBERS, VALUES, 0) == [(0, 0), (2, 0), (1, 1), (3, 1)]
    assert niches(MEMBERS, VALUES, 1) == [(2, 0), (0, 0), (3, 1), (1, 1)]
    assert niches([], np.zeros((0, 2)), 3) == []


def test_mates_are_of_the_same_family_and_the_best_for_the_class() -> None:
    assert mates_of(MEMBERS, VALUES[:, 1], 0) == ["b"]
    assert mates_of(MEMBERS, VALUES[:, 0], 3) == ["c"]


def test_the_best_of_a_family_are_listed_once_each_for_their_best_class() -> None:
    assert best_of(MEMBERS, 0, VALUES, 5) == [(0, 0), (1, 0)]
    assert best_of(MEMBERS, 1, VALUES, 1) == [(2, 0)]
    assert best_of(MEMBERS, 2, VALUES, 1) == []


def test_flags_grow_by_rows_of_false() -> None:
    np.testing.assert_array_equal(grown(np.array([[True, False]]), 2), [[True, False], [False, False]])
