"""What is said of a class that the rule flags and unseen images do not confirm."""

from __future__ import annotations

import numpy as np
import pytest

from simkit.search.confirm import Trial, unconfirmed
from simkit.triggers import Trigger
from simkit.verdict import ClassResult

TRIGGER = Trigger(np.ones((1, 4, 4), np.float32), np.ones((1, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("hits", "trials", "works", "said"),
    [
        (24, 32, False, "turned 75 % of 32 unseen images, too few to confirm it"),
        (25, 32, False, "turned 78 % of 32 unseen images, too few to confirm it"),
        (26, 32, False, "turned 81 % of 32 unseen images, too few to confirm it and too many for a clean model"),
        (6, 8, None, "turned 75 % of 8 unseen images, which does not decide it"),
        (0, 0, None, "was not tried on unseen images"),
    ],
)
def test_words_for_a_class_that_is_not_confirmed(hits: int, trials: int, works: bool | None, said: str) -> None:
    result = ClassResult(7, TRIGGER, 16.0, 0.9, censored=False)
    assert unconfirmed(result, Trial(TRIGGER, hits, trials, works)) == f"class 7: a patch of 16 pixels {said}"


@pytest.mark.parametrize(
    ("hits", "trials", "works", "clears"),
    [(0, 12, False, True), (31, 39, False, True), (8, 10, False, False), (3, 8, None, False), (9, 10, True, False)],
)
def test_what_clears_a_class(hits: int, trials: int, works: bool | None, clears: bool) -> None:
    assert Trial(TRIGGER, hits, trials, works).clears is clears
