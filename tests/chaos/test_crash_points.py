"""SIGKILL at named points of the code, each at its first visits: whatever was under way, the scan goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.chaos.child import KILLED
from tests.chaos.faults import Fault, KillAt, KillAtStatement, SystemCall
from tests.chaos.resume import Lab
from tests.chaos.victims import REFUSED, SHORT

AROUND = {
    "a reservation": "oracles.budget:Budget.reserve",
    "the forward pass": "oracles.torch_model:TorchOracle.query",
    "the opening of a step": "db.ledger:Run.open_step",
    "recording": "db.ledger:Run.record",
    "waiting for the disk": "db.writer:Writer._sync",
    "moving a new ledger into place": "db.prepare:os.replace",
    "the first migration": "db.prepare:upgrade",
    "the beginning of a run": "db.ledger:Ledger.begin",
    "the end of a run": "db.ledger:Run.finish",
    "closing": "db.writer:Writer.close",
    "writing a trigger file": "studies.scan.trigger_files:write_atomically",
    "naming a trigger file": "simkit.files:_write_new",
}
POINTS: dict[str, Callable[[int], Fault]] = {
    **{f"{when} {name}": partial(KillAt, AROUND[name], when) for name in AROUND for when in ("before", "after")},
    "before a call is queued": partial(KillAt, "db.writer:Writer.add_all", "before calls"),
    "after a call is queued": partial(KillAt, "db.writer:Writer.add_all", "after calls"),
    "before BEGIN": partial(KillAtStatement, "BEGIN"),
    "after BEGIN": partial(KillAtStatement, "INSERT INTO calls"),
    "before COMMIT": partial(KillAtStatement, "COMMIT"),
    "after COMMIT": partial(KillAtStatement, "committed"),
}
WRITES = {"the log": "-wal", "the file, at a checkpoint": "scan.db", "the building file": "simkit-building"}
ONCE = ("new ledger", "first migration", "a run", "closing", "the disk", "trigger file")
"""Points of these names are passed once or twice a process: a third visit never comes."""


def _reached(point: str, visit: int) -> bool:
    return visit == 1 or not any(name in point for name in ONCE)


@pytest.mark.parametrize("visit", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
def test_a_scan_killed_at_a_point_goes_on(point: str, visit: int, lab: Lab) -> None:
    """Visits of a point that a process passes once are made by as many processes."""
    broken = lab.broken(SHORT)
    times, at = (1, visit) if _reached(point, visit) else (visit, 1)
    killed = [broken.go_on(POINTS[point](at)).code == KILLED for _ in range(times)]
    assert killed[0]
    lab.finish(broken)
    lab.count("crash points", sum(killed))


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_scan_killed_at_a_refusal_goes_on(point: str, lab: Lab) -> None:
    broken = lab.broken(REFUSED)
    assert broken.go_on(KillAt("db.ledger:Run.refuse", point, 1)).code == KILLED
    lab.finish(broken)
    lab.count("crash points")


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize("error", [0, -1], ids=["before", "after"])
@pytest.mark.parametrize("written", WRITES)
def test_a_scan_killed_at_a_write_goes_on(written: str, error: int, lab: Lab) -> None:
    """A header without its page, a checkpoint half done: what only a kill between two system calls leaves."""
    kills = 0
    for number in range(lab.sized(3, 20)):
        broken = lab.broken(SHORT, number)
        kills += broken.go_on(SystemCall(WRITES[written], "w", 1 + 3 * number, error)).code == KILLED
        lab.finish(broken)
    assert kills > 0
    lab.count("kills at writes", kills)
