"""What a provider's ledger says of its callers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from db.ledger import Ledger
from db.service_reads import Caller, caller_of, recent
from db.service_records import Alarm
from tests.db.conftest import MakeCall, MakeRun


def test_callers_are_told_over_all_their_runs(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    def run_of(name: str, caller: str | None) -> object:
        config = "{}" if caller is None else f'{{"service": {{"key": "{caller}"}}}}'
        return replace(make_run(name), config=config)

    with Ledger.open(path) as ledger:
        assert caller_of(path, "a") == Caller((), 0, None)
        runs = [ledger.begin(run_of(*of)) for of in (("1", "a"), ("2", "b"), ("3", "a"), ("4", None))]  # type: ignore[arg-type]
        for number, run in enumerate(runs):
            run.record(make_call(queries=number + 1))
        runs[2].refuse(None, 9, "budget")
        runs[2].refuse(None, 9, "rate")
        runs[0].alarm(Alarm("prada", 0.5, 0, 1, "log"))
        runs[1].alarm(Alarm("prada", 0.5, 0, 1, "ban"))
        found = {key: caller_of(path, key) for key in "abc"}
        keys = [make_run(str(number)).key for number in (1, 2, 3)]
        assert found["a"] == Caller((keys[0], keys[2]), 4, None)
        assert (found["b"].spent, found["c"].runs) == (2, ())
        assert found["b"].banned is not None
        assert [queries for _, queries in recent(path, "a", 0.0)] == [1, 3, 9]
        assert recent(path, "a", found["b"].banned + 1e6) == recent(path, "c", 0.0) == []
