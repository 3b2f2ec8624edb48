"""What a stranger's run says of its settings: read where it is an object of JSON, told in one line where it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from db import reads
from db.errors import StorageError
from db.ledger import Ledger
from db.records import OBJECTS, RunInfo
from db.stored import StoredRun
from db.survey import survey


@pytest.fixture
def ledger(path: Path, make_run: Callable[..., RunInfo]) -> Path:
    """A ledger with one run."""
    with Ledger.open(path) as opened:
        opened.begin(make_run())
    return path


NO_OBJECTS = ("[]", "7", "null", '"text"', "[" * 2_000 + "]" * 2_000)


@pytest.mark.parametrize("text", NO_OBJECTS, ids=len)
@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_no_object_is_told_wherever_runs_are_read(name: str, text: str, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute(f"UPDATE runs SET {name} = ?", (text,))
        connection.commit()
    readers: tuple[Callable[[], object], ...] = (
        lambda: reads.listed(ledger),
        lambda: list(survey(ledger)),
        lambda: StoredRun.read(ledger, 1),
    )
    for read in readers:
        with pytest.raises(StorageError, match=f"the {name} of run .* is no") as caught:
            read()
        assert "\n" not in str(caught.value)
