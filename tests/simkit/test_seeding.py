from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.seeding import stream, subseed

NAMES = st.lists(st.one_of(st.text(st.characters(categories=["L", "N"]), max_size=5), st.integers(0, 99)), max_size=4)


@given(st.integers(0, 2**63), NAMES)
def test_equal_names_draw_equally(seed: int, names: list[str | int]) -> None:
    assert (stream(seed, *names).random(3) == stream(seed, *names).random(3)).all()
    assert subseed(seed, *names) == subseed(seed, *names)


@given(st.integers(0, 2**63), NAMES, NAMES)
def test_other_names_draw_otherwise(seed: int, names: list[str | int], others: list[str | int]) -> None:
    same = list(map(str, names)) == list(map(str, others))
    assert (subseed(seed, *names) == subseed(seed, *others)) is same


def test_names_do_not_run_together() -> None:
    keys: list[tuple[str | int, ...]] = [("ab", "c"), ("a", "bc"), ("abc",), (1, 23), (12, 3), (123,), ()]
    assert len({subseed(0, *names) for names in keys}) == len(keys)
    assert subseed(1, 2) != subseed(12)
    assert subseed(1) != subseed(2)


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = stream(7, "b3d", 3).random(4)
    stream(7, "b3d", 2).random(1000)
    np.random.default_rng().random()
    assert (stream(7, "b3d", 3).random(4) == first).all()


@pytest.mark.process
def test_draws_are_the_same_in_every_process() -> None:
    code = "from simkit.seeding import subseed; print(subseed(7, 'b3d', 3))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == subseed(7, "b3d", 3)


@given(st.integers(0, 2**63))
def test_a_subseed_has_63_bits(seed: int) -> None:
    assert 0 <= subseed(seed, "x") < 2**63


def test_the_draws_are_these() -> None:
    """Stored runs are replayed from their seeds: another number here is another meaning of every ledger."""
    assert subseed(7, "b3d", 3) == 7524326169749699897
    assert stream(7, "b3d", 3).random() == 0.8157890779732159
