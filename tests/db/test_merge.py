"""Ledgers into one: by key, all or nothing, twice as once, in any order."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import merge as merging
from db import reads
from db.check import check
from db.engine import reading
from db.errors import NotALedger, StorageBusy, StorageError
from db.ledger import Ledger
from db.merge import PARTS, merge
from db.records import TriggerRow
from db.tables import metadata
from tests.db.conftest import MakeCall, MakeRun, MakeVerdict, _call, _run, _verdict

SAVED = Path(__file__).parent / "schemas"


@dataclass(frozen=True)
class Scan:
    """A run of a ledger: the queries of each call, whether it was finished, and what the answers are drawn from."""

    name: str
    calls: tuple[int, ...]
    done: bool = True
    seed: int = 0


def ledger_of(path: Path, *scans: Scan) -> Path:
    """With a step a call, an external call after each, and a refusal, so that every kind of row is there."""
    with Ledger.open(path) as ledger:
        for scan in scans:
            run = ledger.begin(_run(scan.name))
            for number, queries in enumerate(scan.calls):
                step = run.open_step(number, "search", f'{{"loss": {number}}}')
                run.record(_call(step, queries, 10 * number + scan.seed))
                run.record(_call(None, 1, number))
            if scan.done:
                last = run.open_step(len(scan.calls), "verify", "{}")
                run.refuse(last, 4, "budget")
                mask = np.full((1, 2, 2), 0.5, np.float32)
                run.finish(_verdict(run.spent, run.refused), [TriggerRow(1, mask, mask, 2.0, 0.5, 1, 2, False)])
    return path


def content(path: Path) -> dict[str, Any]:
    """All that each run holds, by its key: no ids, no times, no seals over them."""
    actual: dict[str, Any] = {}
    with reading(path) as connection:
        for run, key in connection.exec_driver_sql("SELECT id, key FROM runs").fetchall():
            parts = actual[key] = {}
            for table in PARTS:
                names = [c.name for c in table.columns if c.name not in ("id", "run_id", "at", "seal")]
                columns = ", ".join(
                    "(SELECT number FROM steps WHERE id = t.step_id)" if n == "step_id" else f't."{n}"' for n in names
                )
                rows = connection.exec_driver_sql(
                    f"SELECT {columns} FROM {table.name} AS t WHERE run_id = ? ORDER BY t.rowid", (run,)
                )
                parts[table.name] = [tuple(row) for row in rows]
    return actual


def outcomes(into: Path, *sources: Path) -> list[str]:
    return [actual.outcome for actual in merge(into, sources)]


def test_finished_runs_come_along_with_all_that_is_theirs(tmp_path: Path) -> None:
    first = ledger_of(tmp_path / "one.db", Scan("a", (3, 40, 2)), Scan("b", (5,)))
    two = ledger_of(tmp_path / "two.db", Scan("c", tuple(range(1, 50))), Scan("d", (2,), done=False))
    before = [first.read_bytes(), two.read_bytes()]
    actual = merge(tmp_path / "all" / "all.db", [first, two])
    assert [(m.source, m.run, m.model, m.outcome, m.into) for m in actual] == [
        *((first, 1, "a.onnx", "added", 1), (first, 2, "b.onnx", "added", 2)),
        *((two, 1, "c.onnx", "added", 3), (two, 2, "d.onnx", "open", None)),
    ]
    into = tmp_path / "all" / "all.db"
    assert content(into) == content(first) | {k: v for k, v in content(two).items() if k == actual[2].key}
    assert check(into) == []
    assert reads.verdicts(into)["at"].tolist() == [*reads.verdicts(first)["at"], *reads.verdicts(two)["at"]]
    assert [first.read_bytes(), two.read_bytes()] == before


def test_every_table_belongs_to_a_run_or_to_the_file() -> None:
    # an image is shared by the runs that asked about it
    assert {table.name for table in PARTS} == set(metadata.tables) - {"meta", "runs", "pictures"}
    assert all("run_id" in table.columns for table in PARTS)


def test_a_finished_run_that_is_there_is_kept(tmp_path: Path) -> None:
    first = ledger_of(tmp_path / "one.db", Scan("a", (3, 4)))
    same = ledger_of(tmp_path / "same.db", Scan("a", (3, 4)))
    other = ledger_of(tmp_path / "other.db", Scan("a", (3, 4), seed=1))
    longer = ledger_of(tmp_path / "longer.db", Scan("a", (3, 4, 5)))
    before = content(first)
    assert outcomes(first, same, other, longer) == ["kept", "other answers", "other answers"]
    assert content(first) == before


@pytest.mark.parametrize("calls", [(), (3,), (3, 4)])
def test_a_finished_run_replaces_an_open_one_that_began_so(tmp_path: Path, calls: tuple[int, ...]) -> None:
    into = ledger_of(tmp_path / "into.db", Scan("z", (1,)), Scan("a", calls, done=False), Scan("b", (2,), done=False))
    source = ledger_of(tmp_path / "source.db", Scan("a", (3, 4)))
    assert outcomes(into, source) == ["replaced"]
    assert content(into).items() >= content(source).items()
    assert check(into) == []
    with Ledger.open(into) as ledger:  # the other open run goes on
        run = ledger.begin(_run("b"))
        run.record(_call(run.open_step(1, "search", "{}")))
    assert check(into) == []


@pytest.mark.parametrize("calls", [(4,), (3, 4, 5)])
def test_an_open_run_that_began_otherwise_is_an_error_of_both(tmp_path: Path, calls: tuple[int, ...]) -> None:
    into = ledger_of(tmp_path / "into.db", Scan("a", calls, done=False))
    source = ledger_of(tmp_path / "source.db", Scan("new", (1,)), Scan("a", (3, 4)))
    before = content(into)
    with pytest.raises(
        StorageError, match=r"into\.db: run 1 is open and has other first calls than run 2 of .*source\.db"
    ):
        merge(into, [source])
    assert content(into) == before


def test_a_run_that_is_being_scanned_stays_where_it_is(tmp_path: Path) -> None:
    source = ledger_of(tmp_path / "source.db", Scan("a", (3,)))
    with Ledger.open(source) as ledger:
        ledger.begin(_run("b")).record(_call())
        assert outcomes(tmp_path / "into.db", source) == ["added", "open"]
        ledger.begin(_run("b")).record(_call())  # it was not held up
    assert list(content(tmp_path / "into.db")) == [_run("a").key]


def test_an_older_schema_is_upgraded_in_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "v1.db"
    shutil.copy(SAVED / "v1.db", source)
    before, into = source.read_bytes(), tmp_path / "into" / "all.db"
    assert outcomes(into, source) == ["added", "added", "added", "open", "added"]
    assert outcomes(into, source) == ["kept", "kept", "kept", "open", "kept"]
    assert check(into) == []
    assert source.read_bytes() == before
    assert not list(into.parent.glob(".simkit-merge-*"))


def test_a_file_is_not_merged_into_itself(tmp_path: Path) -> None:
    into = ledger_of(tmp_path / "into.db", Scan("a", (3,)))
    (tmp_path / "link.db").symlink_to(into)
    for source in (into, tmp_path / "link.db"):
        with pytest.raises(StorageError, match="the same file as"):
            merge(into, [source])
    with Ledger.open(into), pytest.raises(StorageBusy):
        merge(into, [ledger_of(tmp_path / "source.db", Scan("b", (3,)))])


def test_what_is_no_ledger_is_told_before_anything_is_written(tmp_path: Path) -> None:
    good = ledger_of(tmp_path / "good.db", Scan("a", (3,)))
    (tmp_path / "notes.txt").write_text("no ledger\n" * 20)
    for bad, kind in ((tmp_path / "missing.db", StorageError), (tmp_path / "notes.txt", NotALedger)):
        with pytest.raises(kind, match=bad.name):
            merge(tmp_path / "into.db", [good, bad])
    assert not (tmp_path / "into.db").exists()


def test_a_damaged_source_changes_nothing_and_leaves_no_new_file(tmp_path: Path) -> None:
    good = ledger_of(tmp_path / "good.db", Scan("a", (3,)))
    bad = ledger_of(tmp_path / "bad.db", Scan("b", (3, 4)))
    with sqlite3.connect(bad) as connection:
        connection.execute("UPDATE calls SET crc32 = crc32 + 1 WHERE number = 2")
    connection.close()
    into = ledger_of(tmp_path / "into.db", Scan("c", (3,)))
    before = content(into)
    for target in (into, tmp_path / "new.db"):
        with pytest.raises(StorageError, match=r"bad\.db: run 1, calls 2 is damaged; restore"):
            merge(target, [good, bad])
    assert content(into) == before
    assert not (tmp_path / "new.db").exists()


def test_an_error_of_the_target_names_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ledger_of(tmp_path / "source.db", Scan("a", (3,)))
    monkeypatch.setattr(merging, "_insert", lambda table, row: f"INSERT INTO no_{table} VALUES (1)")
    with pytest.raises(StorageError, match=r"into\.db: no such table: no_runs"):
        merge(tmp_path / "into.db", [source])


def _die_at(page: int, into: Path, sources: Sequence[Path]) -> None:
    """Merge, and be killed at the insert numbered `page`."""
    insert, left = merging._insert, iter(range(page, -1, -1))

    def deadly(table: str, row: dict[str, Any]) -> str:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return insert(table, row)

    merging._insert = deadly
    merge(into, sources)
    os._exit(1)  # it should not have come to this


@pytest.mark.process
@pytest.mark.parametrize("page", [0, 3, 7])
def test_a_kill_in_the_middle_leaves_it_as_it_was(tmp_path: Path, page: int) -> None:
    into = ledger_of(tmp_path / "into.db", Scan("a", (3,), done=False))
    source = ledger_of(tmp_path / "source.db", Scan("a", (3, 4)), Scan("b", (2,)))
    before = content(into)
    killed = multiprocessing.get_context("fork").Process(target=_die_at, args=(page, into, [source]))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert content(into) == before
    assert check(into) == []
    assert outcomes(into, source) == ["replaced", "added"]
    assert content(into) == content(source)


SCANS = st.lists(
    st.builds(
        Scan, st.sampled_from("abcd"), st.lists(st.integers(1, 40), max_size=3).map(tuple), st.booleans(), st.just(0)
    ),
    max_size=3,
    unique_by=lambda scan: scan.name,
)


def alike(scans: list[Scan]) -> list[Scan]:
    """Of one name, one scan: a key is answered in one way only. An open one is the beginning of it."""
    whole = {name: tuple(range(2, 3 + n)) for n, name in enumerate("abcd")}
    return [replace(s, calls=whole[s.name] if s.done else whole[s.name][: len(s.calls)]) for s in scans]


@pytest.mark.slow
@given(SCANS.map(alike), SCANS.map(alike), SCANS.map(alike))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merging_is_idempotent_and_takes_any_order(
    tmp_path_factory: pytest.TempPathFactory, first: list[Scan], two: list[Scan], three: list[Scan]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    sources = [ledger_of(folder / f"{n}.db", *scans) for n, scans in enumerate((first, two, three))]
    merge(folder / "forth.db", sources)
    merge(folder / "back.db", sources[::-1])
    for source in sources:
        merge(folder / "single.db", [source])
    merged = content(folder / "forth.db")
    assert merged == content(folder / "back.db") == content(folder / "single.db")
    assert set(merged) == {_run(scan.name).key for scan in (*first, *two, *three) if scan.done}
    assert all(actual.outcome in ("kept", "open") for actual in merge(folder / "forth.db", sources))
    assert content(folder / "forth.db") == merged
    assert check(folder / "forth.db") == []
    merge(sources[0], sources[1:])  # with its open runs
    assert content(sources[0]).items() >= merged.items()
    assert check(sources[0]) == []


def test_ids_of_steps_do_not_collide_with_those_of_a_scan(
    tmp_path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict
) -> None:
    into = ledger_of(tmp_path / "into.db", Scan("a", (3,), done=False))
    merge(into, [ledger_of(tmp_path / "source.db", Scan("b", tuple([1] * 70)))])
    with Ledger.open(into) as ledger:
        run = ledger.begin(make_run("a"))
        run.record(make_call(run.open_step(1, "search", "{}")))
        run.finish(make_verdict(run.spent, run.refused), [])
    assert check(into) == []
