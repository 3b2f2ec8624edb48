"""A byte flipped, a file cut short: told in one line, or nothing has changed; never a wrong count unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db.check import check
from simkit.seeding import stream
from tests.chaos.faults import KillAtStatement, Nothing
from tests.chaos.resume import DONE, STORAGE, UNDECIDED, Broken, Lab
from tests.chaos.victims import SHORT, content, result, scan

pytestmark = pytest.mark.timeout(900)  # dozens of scans, which take minutes on a busy machine

LEDGERS = {"finished": "", "killed": "COMMIT"}
"""One file, and one with the log of a killed scan, which holds most of it."""

_COMMITS = 30


@pytest.fixture(params=LEDGERS)
def sound(request: pytest.FixtureRequest, lab: Lab) -> Broken:
    broken = lab.broken(SHORT, "sound")
    broken.go_on(KillAtStatement(LEDGERS[request.param], _COMMITS) if LEDGERS[request.param] else Nothing())
    assert broken.stored > 0
    return broken


def test_a_flipped_byte_is_told_or_harmless(sound: Broken, lab: Lab) -> None:
    draw = stream(0, "flips")

    def flip(data: bytearray) -> None:
        data[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))

    observed, harmless = _damaged(sound, lab, flip, lab.sized(15, 70))
    assert observed > 0
    lab.count("flips", observed + harmless)
    lab.count("flips told", observed)


def test_a_file_cut_short_is_told_or_harmless(sound: Broken, lab: Lab) -> None:
    draw = stream(0, "cuts")

    def cut(data: bytearray) -> None:
        del data[int(draw.integers(len(data))) :]

    observed, harmless = _damaged(sound, lab, cut, lab.sized(8, 35))
    assert observed > 0
    lab.count("cuts", observed + harmless)
    lab.count("cuts told", observed)


def _damaged(sound: Broken, lab: Lab, damage: Callable[[bytearray], None], times: int) -> tuple[int, int]:
    """How often damage to the file, and as often to its log, was told, and how often it changed nothing."""
    before, observed, harmless = content(sound.db), 0, 0
    for suffix in ("", "-wal"):
        for number in range(times if _size(_beside(sound.db, suffix)) else 0):
            folder = lab.folder / f"damaged{suffix}-{number}"
            db = _copied(sound, folder)
            data = bytearray(_beside(db, suffix).read_bytes())
            damage(data)
            _beside(db, suffix).write_bytes(data)
            if actual := check(db):
                assert all("\n" not in line for line in actual)
                observed += 1
            else:
                assert content(db) == before, f"{suffix or 'the file'}, damage {number}: unnoticed"
                harmless += 1
            _goes_on_or_says(lab, _copied(sound, folder), suffix, data)
            shutil.rmtree(folder)
    return observed, harmless


def _beside(db: Path, suffix: str) -> Path:
    return db.with_name(db.name + suffix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _copied(sound: Broken, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound.folder, folder)
    return folder / sound.db.name


def _goes_on_or_says(lab: Lab, db: Path, suffix: str, data: bytearray) -> None:
    """The scan itself, gone on with from the damaged ledger: exit code 5, or the result of an unbroken one."""
    _beside(db, suffix).write_bytes(data)
    code = scan(lab.victim, SHORT, db.parent)
    assert code in (DONE, UNDECIDED, STORAGE)
    if code != STORAGE:
        assert result(db.parent) == lab.result(SHORT)


@pytest.mark.parametrize("most", [0, 100, 4096])
def test_a_ledger_without_its_file_is_told(most: int, lab: Lab) -> None:
    """The log of a lost file is never played into a new one."""
    broken = lab.broken(SHORT)
    broken.go_on(KillAtStatement("COMMIT", _COMMITS))
    broken.db.write_bytes(broken.db.read_bytes()[:most])
    assert scan(lab.victim, SHORT, broken.folder) == STORAGE
    assert np.size(check(broken.db)) == 1
    lab.count("cuts")
    lab.count("cuts told")
