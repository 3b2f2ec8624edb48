"""A damaged log is told before SQLite drops the rest of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from db.engine import identify
from db.errors import StorageError
from db.ledger import Ledger
from db.log import check_log
from tests.db.conftest import MakeCall, MakeRun

HEADER, FRAME = 32, 4120


@pytest.fixture
def copied(path: Path, tmp_path: Path, make_call: MakeCall, make_run: MakeRun) -> Path:
    """File, log and shared memory of a ledger, as a killed process would leave them."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for seed in range(5):
            run.record(make_call(queries=200, seed=seed))
        (tmp_path / "copy").mkdir()
        for file in tmp_path.glob("ledger.db*"):
            shutil.copy(file, tmp_path / "copy")
    return tmp_path / "copy" / "ledger.db"


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_whole_log_is_no_error(copied: Path) -> None:
    check_log(copied)
    Ledger.open(copied).close()


@pytest.mark.parametrize("at", [0, 20, HEADER + 4, HEADER + 9, HEADER + 100, -1, -FRAME + 5])
def test_a_flipped_bit_is_told_by_where_the_log_is_whole(copied: Path, at: int) -> None:
    flip(log_of(copied), at)
    frames = (log_of(copied).stat().st_size - HEADER) // FRAME
    end = 0 if 0 <= at < HEADER else HEADER if at >= 0 else HEADER + (frames - 1) * FRAME
    with pytest.raises(StorageError, match=rf"damaged after {end} bytes.*truncate -s {end} ledger\.db-wal"):
        check_log(copied)
    with pytest.raises(StorageError, match="commits are lost"):
        Ledger.open(copied)


def test_without_shared_memory_damage_before_the_last_commit_is_told(copied: Path) -> None:
    copied.with_name("ledger.db-shm").unlink()
    check_log(copied)
    flip(log_of(copied), HEADER + FRAME + 100)
    with pytest.raises(StorageError, match=f"damaged after {HEADER + FRAME} bytes"):
        check_log(copied)


@pytest.mark.parametrize("end", [0, 10, HEADER, HEADER + FRAME, -1])
def test_a_log_cut_short_is_told_and_the_advice_helps(copied: Path, end: int) -> None:
    data = log_of(copied).read_bytes()
    log_of(copied).write_bytes(data[:end])
    with pytest.raises(StorageError, match="truncate") as caught:
        check_log(copied)
    whole = int(str(caught.value).split("truncate -s ")[1].split()[0])
    log_of(copied).write_bytes(data[:whole])
    copied.with_name("ledger.db-shm").unlink()
    check_log(copied)
    assert identify(copied)


def test_a_frame_that_was_never_committed_is_no_damage(copied: Path) -> None:
    with log_of(copied).open("ab") as log:
        log.write(log_of(copied).read_bytes()[HEADER : HEADER + 2000])
    check_log(copied)
