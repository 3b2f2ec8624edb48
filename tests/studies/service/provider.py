"""A provider in a process of its own: answers questions until it is killed. Used by test_kills.py."""

from __future__ import annotations

import hashlib
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from db.run import Run
from oracles.spec import OracleSpec
from oracles.wire.contract import Problem
from tests.studies.service.conftest import asked, key_of, open_gate, sent

SPEC = OracleSpec(score_noise=0.05, near_duplicate=0.0001, rate_limit="100000/hour", seed=4)
KEY = key_of(budget=100)


def main(path: Path, point: str, calls: int, pipe: Connection) -> None:
    """Answer so many calls.

    point: where it kills itself: `before` the commit of the call that the budget pays last, `after` it, or `never`.
    pipe: told of each answered call, as its idempotency key and a list of charged, replayed and hash in words.
    """
    commit = Run.record

    def killed(run: Run, call: Any, beside: Any = None) -> None:
        fatal = run.queries >= 2 * (calls - 1)
        if fatal and point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(run, call, beside)
        if fatal and point == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    Run.record = killed  # type: ignore[method-assign, assignment]
    gate, ledger = open_gate(path, SPEC)
    for number in range(calls):
        question = asked(2, number)
        try:
            outcome = gate.call(KEY, "m", question, sent(question, f"call-{number}", first=2 * number))
        except Problem as problem:
            pipe.send((f"call-{number}", [problem.kind, problem.message]))
            continue
        told = hashlib.sha256(outcome.data).hexdigest()[:16]
        pipe.send((f"call-{number}", [str(outcome.charged), str(outcome.replayed), told]))
    ledger.close()
