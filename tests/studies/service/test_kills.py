"""SIGKILL around the commit of a call, and at any other time: nothing is lost, and nothing is charged twice."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from db import reads
from db.check import check
from db.ledger import Ledger
from tests.processes import forked
from tests.studies.service.provider import main

pytestmark = pytest.mark.process
CALLS = 6


@dataclass(frozen=True)
class Provider:
    """A provider in a process, and where it tells of the calls that it has answered."""

    process: BaseProcess
    replies: Connection

    def reply(self) -> tuple[str, list[str]] | None:
        """The next idempotency key with its reply; None once the process has ended."""
        assert self.replies.poll(100)
        try:
            name, reply = self.replies.recv()
        except EOFError:
            return None
        return name, reply


def provider(path: Path, point: str, calls: int = CALLS) -> Provider:
    here, there = Pipe(duplex=False)
    with there:
        process = forked(main, path, point, calls, there)
    return Provider(process, here)


def told(provided: Provider) -> dict[str, list[str]]:
    """The reply to each call by its idempotency key."""
    with provided.replies:
        replies = dict(iter(provided.reply, None))
    provided.process.join(100)
    return replies


def charges(path: Path) -> list[tuple[str, int]]:
    statement = (
        "SELECT d.idempotency, c.charged FROM deliveries AS d"
        " JOIN calls AS c ON c.run_id = d.run_id AND c.number = d.call_number ORDER BY d.id"
    )
    return [tuple(row) for row in reads.sql(path, statement).values.tolist()]


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The replies of a provider that nobody kills."""
    return told(provider(tmp_path_factory.mktemp("unharmed") / "provider.db", "never"))


@pytest.mark.parametrize(("point", "stored"), [("before", CALLS - 1), ("after", CALLS)])
def test_a_kill_at_the_commit_charges_a_call_once_and_a_retry_gets_the_answer(
    tmp_path: Path, unharmed: dict[str, list[str]], point: str, stored: int
) -> None:
    path = tmp_path / "provider.db"
    killed = provider(path, point)
    first = told(killed)
    assert killed.process.exitcode == -signal.SIGKILL
    assert len(first) == CALLS - 1, "the last reply never left"
    Ledger.open(path).close()
    assert (check(path), len(charges(path))) == ([], stored)
    again = told(provider(path, "never"))
    assert charges(path) == [(f"call-{number}", 2) for number in range(CALLS)]
    assert check(path) == []
    for number in range(CALLS):
        charged, replayed, data = again[f"call-{number}"]
        assert data == unharmed[f"call-{number}"][2], "noise goes on as if nobody had been killed"
        assert (charged, replayed) == (("0", "True") if number < stored else ("2", "False"))


@pytest.mark.slow
def test_kills_at_any_time_lose_nothing_and_charge_nothing_twice(
    tmp_path: Path, unharmed: dict[str, list[str]]
) -> None:
    path, seen = tmp_path / "provider.db", dict[str, str]()
    for number in range(6):
        provided = provider(path, "never")
        for _ in range(number):
            provided.reply()
        time.sleep(0.002 * number)
        provided.process.kill()
        for name, reply in told(provided).items():
            assert seen.setdefault(name, reply[2]) == reply[2]
    for name, (_, _, data) in told(provider(path, "never")).items():
        assert seen.get(name, data) == data == unharmed[name][2]
    assert charges(path) == [(f"call-{number}", 2) for number in range(CALLS)]
    assert check(path) == []
