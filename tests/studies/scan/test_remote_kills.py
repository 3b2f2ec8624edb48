"""SIGKILL of the caller at any moment of a scan over HTTP, then resume: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from db import reads
from db.check import check
from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest
from tests.processes import forked
from tests.remote_server import Behaviour, seeded, serving
from tests.studies.scan.remote_child import scan_in_child
from tests.studies.scan.test_remote_scan import stored, victim
from tests.studies.scans import TemplateNet, arrays, scanned, told

pytestmark = pytest.mark.process
KILLS = 10


@dataclass
class Killer:
    """Kills the caller when its `after`-th request has come, in the middle of a call. answers: whether that call is
    answered, and charged, all the same."""

    after: int
    answers: bool
    pid: int | None = None

    def __call__(self, request: HttpRequest) -> HttpReply | None:
        if request.method == "GET" or self.pid is None:
            return None
        self.after -= 1
        if self.after == 0:
            os.kill(self.pid, signal.SIGKILL)
            return None if self.answers else json_reply({"error": "late"}, 503)
        return None


@pytest.mark.slow
@pytest.mark.parametrize(("in_flight", "seed"), [(1, 0), (8, 1)])
def test_a_scan_that_is_killed_again_and_again_pays_once(in_flight: int, seed: int, tmp_path: Path) -> None:
    here, there, draw = tmp_path / "here.db", tmp_path / "there.db", random.Random(seed)
    wanted = scanned(TemplateNet(target=1), budget=700, db=here)
    behaviour = Behaviour(fails=seeded(0.3, 4), slow=0.002)
    with serving(victim(), behaviour, max_batch=8) as served:
        for _ in range(KILLS):
            behaviour.before = killer = Killer(draw.randint(1, 8), draw.random() < 0.5)
            process = forked(scan_in_child, served.url, there, in_flight)
            killer.pid = process.pid
            process.join(timeout=60.0)
            assert process.exitcode == -signal.SIGKILL
        behaviour.before = lambda _: None
        assert served.spent > 0
        got = scanned(served.url, budget=700, db=there, remote={"in_flight": in_flight})
        # a kill before the service has said that it knows idempotency keys leaves a note that it may have billed twice
        assert told(got) | {"notes": ""} == told(wanted) | {"notes": ""}
        assert arrays(got) == arrays(wanted)
        assert (stored(here) == stored(there)).all()
        assert served.spent == got.spent == len(reads.queries(there))
        assert sum(answered_calls(there)) == got.spent
        assert check(there) == []


def answered_calls(db: Path) -> list[int]:
    """The queries of each call that was answered, once for every idempotency key."""
    sql = "SELECT DISTINCT idempotency, queries FROM attempts WHERE outcome = 'answered'"
    return [int(queries) for queries in reads.sql(db, sql)["queries"]]
