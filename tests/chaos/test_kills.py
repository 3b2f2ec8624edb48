"""SIGKILL at seeded moments, and then the same command: nothing lost, nothing counted twice, the same bytes."""

from __future__ import annotations

import pytest

from simkit.seeding import stream
from tests.chaos.child import KILLED
from tests.chaos.faults import KillAfter, Nothing
from tests.chaos.resume import DONE, UNDECIDED, Lab
from tests.chaos.victims import SCENARIOS, Scenario, reading


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_kills_lose_nothing_and_count_nothing_twice(scenario: Scenario, lab: Lab) -> None:
    shares, span, kills, scans = stream(0, f"kills of {scenario.name}"), _seconds(scenario, lab), 0, 0
    while kills < (most := lab.sized(4, 34)):
        broken, scans = lab.broken(scenario, scans), scans + 1
        while (ended := broken.go_on(KillAfter(span * shares.uniform()) if kills < most else Nothing())).code == KILLED:
            kills += 1
        assert ended.code in (DONE, UNDECIDED), ended.message
        lab.compare(broken)
        span *= 0.5 if len(broken.breaks) == 1 else 1.2  # a busy machine is slower at one time than at another
        lab.count("queries charged in killed scans", broken.stored)
        lab.count("queries under way at a kill, asked again", broken.asked - broken.stored)
    lab.count("kills", kills)


def _seconds(scenario: Scenario, lab: Lab) -> float:
    """How long a scan takes that nothing befalls: the kills fall into that time."""
    broken = lab.broken(scenario, "unbroken")
    lab.finish(broken)
    with reading(broken.db) as connection:
        return float(connection.execute("SELECT seconds FROM verdicts").fetchone()[0])
