"""A killed scan goes on from its stored answers: the same questions, the same end, nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from oracles.errors import ReplayMismatch
from oracles.meter import CallRecord
from simkit.search.contract import Search
from simkit.search.driver import Driver
from simkit.verdict import Rule
from tests.fakes import PlantedOracle, corner_plant
from tests.simkit.search.scans import DRIVER, IMAGES, Scan, b3d, bytes_of, patches, verdict_of


def _victim() -> PlantedOracle:
    return PlantedOracle(plant=corner_plant(2))


def _by_value(calls: list[CallRecord]) -> list[tuple[object, ...]]:
    return [(c.step, c.rows.tolist(), c.labels.tolist(), c.codec, c.answers) for c in calls]


@pytest.mark.parametrize("searched", [b3d, patches])
def test_a_scan_that_was_killed_ends_as_if_it_had_not_been(searched: Callable[[], tuple[Search, Rule]]) -> None:
    whole = Scan(_victim())
    checkpoints = whole.run(searched())
    calls = whole.recorder.calls
    for kept in (0, 1, len(calls) // 2, len(calls) - 1, len(calls)):
        victim = _victim()
        resumed = Scan(victim, stored=calls[:kept])
        again = resumed.run(searched())
        assert _by_value(resumed.recorder.calls) == _by_value(calls[kept:])
        assert bytes_of(verdict_of(again)) == bytes_of(verdict_of(checkpoints))
        assert [(c.queries, c.rounds) for c in again] == [(c.queries, c.rounds) for c in checkpoints]
        assert victim.images_seen == resumed.recorded == whole.recorded - sum(len(c.rows) for c in calls[:kept])
        assert resumed.recorder.steps == whole.recorder.steps


def test_a_generator_left_alone_asks_nothing_more() -> None:
    victim = _victim()
    scan = Scan(victim)
    search, rule = patches()
    pulled = list(islice(Driver(lambda _images: search, IMAGES, rule, DRIVER, None).run(scan.evaluator), 4))
    assert [c.rounds for c in pulled] == [1, 2, 3, 4]
    assert victim.images_seen == scan.recorded == pulled[-1].queries


def test_the_answers_of_another_seed_are_refused() -> None:
    calls = Scan(_victim())
    calls.run(patches(seed=0))
    with pytest.raises(ReplayMismatch, match="other images or candidates"):
        Scan(_victim(), stored=calls.recorder.calls).run(patches(seed=1))


def test_stored_answers_decide_not_the_model() -> None:
    """A replay asks no model: with another one behind it the verdict is still that of the answers."""
    whole = Scan(_victim())
    observed = bytes_of(whole.verdict(patches()))
    clean = PlantedOracle()
    assert bytes_of(Scan(clean, stored=whole.recorder.calls).verdict(patches())) == observed
    assert clean.images_seen == 0
