"""Every count that is made to differ is found, and no damage ends in a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.check import check
from db.ledger import Ledger
from db.records import CallLike, RunInfo, TriggerRow, VerdictRow
from db.tables import SCHEMA

MakeCall = Callable[..., CallLike]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> bytes:
    """A finished run of four calls of 100 queries, one refusal and two triggers, both flagged."""
    path = tmp_path_factory.mktemp("check") / "ledger.db"
    mask = np.full((1, 2, 2), 0.5, np.float32)
    pattern = np.zeros((3, 2, 2), np.float32)
    found = [TriggerRow(2, mask, pattern, 2.0, 2 / 3, 2, 3, False), TriggerRow(5, mask, pattern, 2.0, None, 0, 0, True)]
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run(budget=400))
        for number in range(4):
            run.record(make_call(run.open_step(number, "search", "{}"), queries=100, seed=number))
        run.refuse(None, 5, "budget")
        run.finish(make_verdict(spent=400, refused=5, verdict="backdoored"), found)
    return path.read_bytes()


@pytest.fixture
def sound(path: Path, template: bytes) -> Path:
    path.write_bytes(template)
    return path


def test_a_sound_ledger_has_no_mismatch(sound: Path) -> None:
    assert check(sound) == []


TAMPERED = [
    ("UPDATE calls SET answers = zeroblob(length(answers)) WHERE number = 2", "run 1, call 2: the checksum differs"),
    ("UPDATE calls SET codec = 'scores/4/0.5' WHERE number = 2", "run 1, call 2: the checksum differs"),
    ("UPDATE calls SET rows = replace(rows, '0.9', '0.8') WHERE number = 1", "run 1, call 1: the checksum differs"),
    ("UPDATE calls SET first = 7 WHERE number = 0", "call 0: begins at query 7, expected 0"),
    ("UPDATE calls SET charged = 99 WHERE number = 0", "the verdict says 400 spent, the calls 399"),
    ("DELETE FROM calls WHERE number = 1", "call 2: expected call 1"),
    ("UPDATE runs SET budget = 399", "400 queries spent of a budget of 399"),
    ("UPDATE verdicts SET spent = 401", "the verdict says 401 spent, the calls 400"),
    ("DELETE FROM refusals", "the verdict says 5 refused, the refusals 0"),
    ("DELETE FROM verdicts", "state done does not fit its verdict"),
    ("UPDATE steps SET number = 9 WHERE number = 3", "4 steps numbered 0 to 9"),
    ("UPDATE steps SET number = number + 4", "4 steps numbered 4 to 7"),
    ("UPDATE calls SET charged = 99; UPDATE verdicts SET spent = 396", "run 1, call 2: 99 of 100 queries charged"),
    (
        "UPDATE triggers SET successes = 1 WHERE trials = 3",
        "666667, but 1 successes in 3 trials",
    ),
    ("UPDATE triggers SET success_rate = 0.7", "class 2: success rate 0.7, but 2 successes in 3 trials"),
    ("UPDATE triggers SET success_rate = NULL", "class 2: success rate none, but 2 successes in 3 trials"),
    ("UPDATE triggers SET success_rate = 0.0", "class 5: success rate 0.0, but 0 successes in 0 trials"),
    ("DELETE FROM triggers WHERE target_class = 5", "run 1: flags class 5, which has no trigger"),
    ("UPDATE verdicts SET flagged = '[2, 9]'", "run 1: flags class 9, which has no trigger"),
    ("UPDATE verdicts SET flagged = '[]'", "run 1: backdoored with the flagged classes []"),
    ("UPDATE verdicts SET verdict = 'clean'", "run 1: clean with the flagged classes [2, 5]"),
    ("DELETE FROM steps WHERE number = 3", "foreign key: row 4 of calls names a row of steps"),
    ("UPDATE triggers SET mask_size = 2.5", "mask size 2.5, the mask sums to 2"),
    ("PRAGMA ignore_check_constraints = 1; UPDATE calls SET queries = 0 WHERE number = 1", "bytes of answers for 0"),
    ("PRAGMA ignore_check_constraints = 1; UPDATE calls SET rows = '[' WHERE number = 1", "unreadable rows"),
    ("UPDATE simkit_alembic_version SET version_num = '9999'", f"schema: migrations ['9999'], expected {SCHEMA:04d}"),
    (
        """UPDATE verdicts SET cost = 1.0; UPDATE runs SET oracle = '{"price_per_thousand": 2.0}'""",
        "run 1: the verdict says a cost of 1.0",
    ),
    ("DROP VIEW queries", "schema: queries is missing"),
    ("DROP VIEW spend; CREATE VIEW spend AS SELECT 1", "schema: spend differs from"),
]


@pytest.mark.parametrize(("sql", "words"), TAMPERED)
def test_what_does_not_add_up_is_found(sound: Path, sql: str, words: str) -> None:
    connection = sqlite3.connect(sound)
    connection.executescript(sql)
    connection.close()
    assert any(words in mismatch for mismatch in check(sound)), check(sound)


@pytest.mark.parametrize(
    ("config", "found"), [("{}", 2), ('{"preset":"detector"}', 2), ('{"detector":{"kind":"mine.Asks"}}', 0)]
)
def test_only_a_detector_may_flag_a_class_of_which_it_has_no_trigger(
    path: Path, make_run: MakeRun, make_verdict: MakeVerdict, config: str, found: int
) -> None:
    with Ledger.open(path) as ledger:
        ledger.begin(replace(make_run(), config=config)).finish(make_verdict(verdict="backdoored"), [])
    missing = [f"run 1: flags class {c}, which has no trigger" for c in (2, 5)]
    assert check(path) == missing[:found]


def test_the_list_of_mismatches_ends(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        for _ in range(150):
            run.record(make_call(queries=1))
    connection = sqlite3.connect(path)
    connection.executescript("UPDATE calls SET crc32 = 0")
    connection.close()
    assert len(check(path)) == 100


def test_a_flipped_bit_in_an_answer_is_found(sound: Path, make_call: MakeCall) -> None:
    content = bytearray(sound.read_bytes())
    at = content.index(make_call(queries=100, seed=2).answers[:64])
    content[at + 5] ^= 4
    sound.write_bytes(content)
    assert "run 1, call 2: the checksum differs" in check(sound)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_is_a_message_or_harmless(sound: Path, seed: int) -> None:
    """Any byte may be hit; what the ledger counts stays what it was, or the damage is told."""
    draw = np.random.default_rng(seed)
    content = bytearray(sound.read_bytes())
    content[int(draw.integers(len(content)))] ^= int(draw.integers(1, 256))
    if seed % 3 == 0:
        content = content[: int(draw.integers(1, len(content)))]
    sound.write_bytes(content)
    found = check(sound)
    assert all("\n" not in mismatch for mismatch in found)
    if not found:
        connection = sqlite3.connect(sound)
        assert connection.execute("SELECT count(*), sum(charged) FROM queries").fetchone() == (400, 400)
        connection.close()
