"""What this process has open is read through SQLite alone, or it would lose its locks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from db import reads
from db.engine import identify
from db.held import apart, connect
from db.ledger import Ledger
from db.log import check_log
from db.tables import SCHEMA
from tests.db.conftest import MakeCall, MakeRun

VISIT = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM calls'); c.close()"


def test_a_file_is_apart_until_it_is_open_and_again_when_it_is_closed(path: Path) -> None:
    with apart(path) as free:
        assert free
    connection = connect(path, path)
    with apart(path.parent / "." / path.name) as free:
        assert not free
    connection.close()
    connection.close()
    with apart(path) as free:
        assert free


def test_a_file_that_cannot_be_opened_stays_apart(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path, tmp_path)
    with apart(tmp_path) as free:
        assert free


@pytest.mark.process
def test_another_program_that_closes_the_file_leaves_the_log_to_its_writer(
    path: Path, make_call: MakeCall, make_run: MakeRun
) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(seed=1))
        assert identify(path) == SCHEMA
        check_log(path)
        reads.runs(path)
        subprocess.run([sys.executable, "-S", "-c", VISIT, str(path)], check=True)
        assert path.with_name(path.name + "-wal").exists()
        run.record(make_call(seed=2))
        run.flush()
    assert len(reads.queries(path)) == 6
