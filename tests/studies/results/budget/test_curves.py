"""The budgets at which a curve is drawn."""

from __future__ import annotations

from itertools import pairwise

from studies.results.budget.curves import thinned


def test_the_curve_of_a_fleet_is_drawn_at_few_budgets_from_first_to_last() -> None:
    assert thinned([3, 5, 9]) == [3, 5, 9]
    assert thinned(range(200)) == list(range(200))
    drawn = thinned(range(1, 2001))
    assert (len(drawn), drawn[0], drawn[-1]) == (200, 1, 2000)
    assert {later - one for one, later in pairwise(drawn)} <= {10, 11}
