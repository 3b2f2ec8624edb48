"""The nth system call fails: what was acknowledged is stored, the error is typed, and the same command goes on."""

from __future__ import annotations

import errno

import pytest

from tests.chaos.faults import SystemCall
from tests.chaos.resume import DONE, STORAGE, UNDECIDED, Broken, Lab
from tests.chaos.victims import SHORT

CALLS = {
    "write to the log": ("-wal", "w"),
    "write to the file": ("scan.db", "w"),
    "write to the building file": ("simkit-building", "w"),
    "write of the shared memory": ("-shm", "t"),
    "sync of the log": ("-wal", "s"),
    "sync of the file": ("scan.db", "s"),
    "sync of the building file": ("simkit-building", "s"),
    "rename of the new file": ("scan.db", "r"),
    "write of a trigger file": (".tmp", "w"),
    "sync of a trigger file": (".tmp", "s"),
}


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
def test_a_failing_call_loses_nothing_acknowledged(call: str, error: int, lab: Lab) -> None:
    ending, kind = CALLS[call]
    struck = 0
    for number in range(lab.sized(3, 60)):
        broken = lab.broken(SHORT, number)
        ended = broken.go_on(SystemCall(ending, kind, 1 + number * lab.sized(7, 1), error))
        assert is_typed(broken)
        struck += ended.code == STORAGE
        lab.finish(broken)
        if ended.code != STORAGE and number > 2:  # so many such calls are not made
            break
    lab.count("failing calls", struck)


def is_typed(broken: Broken) -> bool:
    """Whether a scan ended well, or with one line and the exit code of storage."""
    ended = broken.breaks[-1]
    one_line = ended.message.startswith("simkit: error: ") and ended.message.count("\n") == 1
    return ended.code in (DONE, UNDECIDED) or (ended.code == STORAGE and one_line)
