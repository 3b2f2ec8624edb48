"""A kill or a failing disk in the middle of an upgrade: the file is of the old schema or the new one, and whole."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from db.check import check
from db.engine import identify
from db.ledger import Ledger
from db.tables import SCHEMA
from tests.chaos.child import KILLED, run
from tests.chaos.faults import Fault, KillAtStatement, SystemCall
from tests.chaos.resume import STORAGE, Lab

SAVED = Path(__file__).parent.parent / "db" / "schemas"


def _broken_off(old: str, fault: Fault, lab: Lab, name: str) -> int:
    """The exit code of `db upgrade` under a fault; afterwards the file opens and holds what it held."""
    path = lab.folder / f"{name}.db"
    shutil.copy(SAVED / old, path)
    ended = run(["db", "upgrade", str(path)], fault, lab.folder / f"{name}.notes")
    assert identify(path) in (int(old[1:-3]), SCHEMA)
    Ledger.open(path).close()
    assert identify(path) == SCHEMA
    assert check(path) == []
    return ended.code


@pytest.mark.parametrize("old", sorted(path.name for path in SAVED.glob("*.db")))
def test_a_killed_upgrade_is_done_again(old: str, lab: Lab) -> None:
    killed = 0
    for sql in ("BEGIN", "ALTER TABLE", "UPDATE", "CREATE", "COMMIT", "committed"):
        for visit in range(1, lab.sized(2, 8)):
            killed += _broken_off(old, KillAtStatement(sql, visit), lab, f"{sql}-{visit}") == KILLED
    assert killed
    lab.count("killed upgrades", killed)


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize("error", [errno.EIO, 0], ids=["EIO", "kill"])
@pytest.mark.parametrize("ending", ["-wal", ".db"])
def test_an_upgrade_survives_a_failing_write(ending: str, error: int, lab: Lab) -> None:
    for at in range(1, lab.sized(4, 40)):
        code = _broken_off("v1.db", SystemCall(ending, "w", at, error), lab, str(at))
        assert code in (0, KILLED, STORAGE)
        lab.count("failed upgrades", int(code != 0))
