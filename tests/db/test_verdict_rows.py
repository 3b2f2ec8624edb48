"""What a stranger's verdict says that it rules out: read where it is whole, told in one line where it is not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db import reads
from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from db.records import RunInfo, VerdictRow
from db.seal import SEALED, seal

ENTRY: dict[str, Any] = {
    **{"stage": "race", "family": "patch", "sought": "patches", "victims": 17, "missed": 2},
    **{"low": 0.1, "high": 0.3, "zoos": ["a"]},
}
UNMEASURED = ENTRY | {"family": None, "victims": 0, "missed": None, "low": None, "high": None, "zoos": []}


@pytest.fixture
def ledger(path: Path, make_run: Callable[..., RunInfo], make_verdict: Callable[..., VerdictRow]) -> Path:
    """A ledger with one clean verdict."""
    clean = replace(make_verdict(), verdict="clean", stopped="converged", flagged=(), ruled_out=(ENTRY, UNMEASURED))
    with Ledger.open(path) as opened:
        opened.begin(make_run()).finish(clean, [])
    return path


def rewritten(path: Path, ruled_out: str) -> None:
    """Put this text in its place, with the seal that fits, as a stranger can."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE verdicts SET ruled_out = ?", (ruled_out,))
        row = connection.execute(f"SELECT {', '.join(SEALED['verdicts'])} FROM verdicts").fetchone()
        connection.execute("UPDATE verdicts SET seal = ?", (seal(row),))
        connection.commit()


def test_what_was_written_is_read(ledger: Path) -> None:
    result = reads.result(ledger, 1)
    assert result is not None
    assert result.ruled_out == (ENTRY, UNMEASURED)
    assert check(ledger) == []


@pytest.mark.parametrize(
    "entry",
    [
        *(1, None, "text", [], {}),
        {name: value for name, value in ENTRY.items() if name != "zoos"},
        *(ENTRY | changed for changed in ({"more": 1}, {"stage": 1}, {"family": 2}, {"sought": None}, {"zoos": [1]})),
        *(ENTRY | changed for changed in ({"victims": "x"}, {"victims": True}, {"victims": 0}, {"missed": 18})),
        *(ENTRY | changed for changed in ({"missed": -1}, {"missed": None}, {"low": "x"}, {"low": 0.4}, {"high": 2})),
        *(UNMEASURED | changed for changed in ({"victims": 1}, {"high": 0.5})),
    ],
    ids=str,
)
def test_what_is_not_whole_is_told_in_one_line(ledger: Path, entry: Any) -> None:
    rewritten(ledger, json.dumps([ENTRY, entry]))
    with pytest.raises(StorageError) as told:
        reads.result(ledger, 1)
    assert "\n" not in str(told.value)
    assert check(ledger) == [f"run 1: {told.value}"]


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
def test_numbers_of_any_length_are_told(ledger: Path, number: str) -> None:
    rewritten(ledger, json.dumps([ENTRY]).replace("0.3", number))
    with pytest.raises(StorageError, match="what the verdict rules out"):
        reads.result(ledger, 1)
