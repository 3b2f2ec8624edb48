"""Leaps: the slope of a class is found from noisy answers about all classes, and followed."""

from __future__ import annotations

import numpy as np
import pytest

from simkit.errors import ConfigError
from simkit.search.leaps import LeapConfig, Leaps, Slopes
from simkit.search.niches import Member
from simkit.seeding import stream
from simkit.transforms.warp import WarpFamily
from simkit.transforms.wave import WaveFamily


def test_slopes_of_every_class_are_found_from_the_same_answers() -> None:
    rng = stream(1, "slopes")
    true, vectors = rng.normal(size=(3, 8)), rng.normal(size=(4000, 8))
    gains = vectors @ true.T + rng.normal(0.0, 2.0, (4000, 3))
    slopes = Slopes(8, 3, ridge=1e-6)
    slopes.add(vectors[:1000], gains[:1000], np.ones((1000, 3), np.bool_))
    slopes.add(vectors[1000:], gains[1000:], np.ones((3000, 3), np.bool_))
    np.testing.assert_allclose(slopes.directions(), true, atol=0.15)
    assert slopes.answers == 4000


def test_answers_that_say_nothing_of_a_class_do_not_move_it() -> None:
    slopes, valid = Slopes(2, 2, ridge=1.0), np.array([[True, False]])
    slopes.add(np.array([[1.0, 0.0]]), np.array([[2.0, 2.0]]), valid)
    np.testing.assert_allclose(slopes.directions(), [[1.0, 0.0], [0.0, 0.0]])


def test_leaps_go_where_the_margin_of_the_steepest_class_rises() -> None:
    warps = WarpFamily().breeder((3, 16, 16))
    rng = stream(2, "leaps")
    true = rng.normal(size=32)
    leaps = Leaps(LeapConfig(after=100, classes=1), [WaveFamily().breeder((3, 16, 16)), warps], 3)
    members = [Member(1, warps.fresh(rng), 1.0) for _ in range(600)]
    gains = np.zeros((600, 3))
    gains[:, 2] = [warps.vector(m.candidate) @ true for m in members]
    assert list(leaps.draw(0, rng)) == []
    leaps.learn(members, gains, np.ones((600, 3), np.bool_))
    drawn = list(leaps.draw(0, rng))
    assert [family for family, _ in drawn] == [1, 1, 1]
    best = max(gains[:, 2])
    assert min(float(warps.vector(c) @ true) for _, c in drawn) > best
    assert all(warps.share(c) <= 1.0 + 1e-9 for _, c in drawn)


def test_without_leaps_none_are_drawn_and_wrong_counts_are_refused() -> None:
    warps = WarpFamily().breeder((3, 16, 16))
    leaps = Leaps(LeapConfig(each=0, after=0), [warps], 3)
    assert list(leaps.draw(0, stream(0, "none"))) == []
    with pytest.raises(ConfigError, match="ridge above 0"):
        LeapConfig(ridge=0.0)
