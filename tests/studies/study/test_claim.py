"""Which ledger a scan of a study goes into."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.errors import StorageBusy
from db.records import RunInfo, VerdictRow
from studies.study.claim import claimed

INFO = RunInfo("a" * 64, "model", "b" * 64, "digits", "c" * 64, "{}", "{}", 0, None, "{}")
VERDICT = VerdictRow("clean", "decided", (), None, "own", None, "own", 0, 0, 0.1, None, "")


def used(folder: Path, *, goes_on: bool, finish: bool) -> tuple[str, str]:
    """The name of the ledger that is given, and what is said of those before; a run is begun in it."""
    with claimed(folder, "scan", goes_on=goes_on) as claim:
        run = claim.ledger.begin(INFO)
        if finish:
            run.finish(VERDICT, [])
        return claim.ledger.path.name, claim.broken


def test_a_run_that_can_go_on_keeps_its_ledger(tmp_path: Path) -> None:
    assert used(tmp_path, goes_on=True, finish=False) == ("scan.db", "")
    assert used(tmp_path, goes_on=True, finish=True) == ("scan.db", "")


def test_a_run_that_cannot_begins_anew_and_says_so(tmp_path: Path) -> None:
    assert used(tmp_path, goes_on=False, finish=False) == ("scan.db", "")
    broken = "started anew: scan.db was interrupted after 0 queries"
    assert used(tmp_path, goes_on=False, finish=False) == ("scan-2.db", broken)
    name, said = used(tmp_path, goes_on=False, finish=True)
    assert (name, said.count("started anew")) == ("scan-3.db", 2)
    with claimed(tmp_path, "scan", goes_on=False) as claim:
        assert claim.ledger.path.name == "scan-3.db"


def test_one_process_has_it(tmp_path: Path) -> None:
    with claimed(tmp_path, "scan", goes_on=True), pytest.raises(StorageBusy), claimed(tmp_path, "scan", goes_on=True):
        pass


def test_a_ledger_that_nothing_was_asked_for_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, "scan", goes_on=True):
        raise ZeroDivisionError
    assert list(tmp_path.glob("*.db")) == []
