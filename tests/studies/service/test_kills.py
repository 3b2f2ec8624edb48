"""SIGKILL around the commit of a call, and at any other time: nothing is lost, and nothing is charged twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db import reads
from db.check import check
from db.ledger import Ledger

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[3]
CALLS = 6


def provider(path: Path, point: str, calls: int = CALLS) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.studies.service.provider", str(path), point, str(calls)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, list[str]]:
    """The reply to each call by its idempotency key."""
    out, _ = process.communicate(timeout=100)
    return {line.split(" ", 1)[0]: line.split()[1:] for line in out.splitlines()}


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
    assert killed.returncode == -signal.SIGKILL
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
        process = provider(path, "never")
        assert process.stdout is not None
        for _ in range(number):
            process.stdout.readline()
        time.sleep(0.002 * number)
        process.kill()
        for name, reply in told(process).items():
            assert seen.setdefault(name, reply[2]) == reply[2]
    for name, (_, _, data) in told(provider(path, "never")).items():
        assert seen.get(name, data) == data == unharmed[name][2]
    assert charges(path) == [(f"call-{number}", 2) for number in range(CALLS)]
    assert check(path) == []
