"""A provider in a process of its own: answers questions until it is killed. Used by test_kills.py.

    python -m tests.studies.service.provider DB POINT CALLS

POINT: where it kills itself: `before` the commit of the call that the budget pays last, `after` it, or `never`. Each
answered call is a line `IDEMPOTENCY charged replayed hash` on stdout.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from db.run import Run
from oracles.spec import OracleSpec
from oracles.wire.contract import Problem
from tests.studies.service.conftest import asked, key_of, open_gate, sent

SPEC = OracleSpec(score_noise=0.05, near_duplicate=0.0001, rate_limit="100000/hour", seed=4)
KEY = key_of(budget=100)


def main(path: Path, point: str, calls: int) -> None:
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
            print(f"call-{number} {problem.kind}: {problem.message}", flush=True)
            continue
        told = hashlib.sha256(outcome.data).hexdigest()[:16]
        print(f"call-{number} {outcome.charged} {outcome.replayed} {told}", flush=True)
    ledger.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
