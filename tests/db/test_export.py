"""Parquet of known ledgers: the same queries as the view, the same answers, counted; whole or not there."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from db import pages, reads
from db.errors import StorageError, UnknownRun
from db.export import MANIFEST, RECORDS, export
from db.ledger import Ledger
from db.records import FloatArray, TriggerRow
from oracles.answers import MISSING, Answer, Labels, Scores, TopK, encode, top_label, top_score
from tests.db.conftest import Call, MakeRun, MakeVerdict

DRAW = np.random.default_rng(5)
SCORES: FloatArray = DRAW.random((7, 4)).astype(np.float32)
TOP = TopK(np.array([[3, 0], [1, MISSING]], np.int32), np.array([[0.8, 0.1], [0.6, 0.0]], np.float32), 4)
LABELS = Labels(np.array([2, MISSING, 0], np.int32), 4)


def call_of(step: int | None, answer: Answer) -> Call:
    rows = DRAW.integers(-1, 50, (len(answer), 2)).astype(np.int32)
    return Call(step, rows, top_label(answer), top_score(answer), *encode(answer))


@pytest.fixture
def ledger_path(path: Path, make_run: MakeRun, make_verdict: MakeVerdict) -> Path:
    """Run 1: scores in three calls, NaN in one. Run 2: nothing. Run 3: the best two, then labels, open."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run("one", budget=50))
        run.record(call_of(run.open_step(0, "check", "{}"), Scores(SCORES[:2])))
        step = run.open_step(1, "search", '{"loss": 0.5}')
        run.record(call_of(step, Scores(np.where(SCORES[2:6] > 0.9, np.nan, SCORES[2:6]).astype(np.float32))))
        run.record(call_of(None, Scores(SCORES[6:])))
        run.refuse(step, 9, "budget")
        mask, pattern = (np.full(shape, 0.25, np.float32) for shape in ((1, 2, 3), (3, 2, 3)))
        run.finish(make_verdict(7, 9), [TriggerRow(3, mask, pattern, 1.5, None, 0, 0, True)])
        ledger.begin(make_run("two"))
        other = ledger.begin(make_run("three"))
        other.record(call_of(other.open_step(0, "search", "{}"), TOP))
        other.record(call_of(None, LABELS))
    return path


def as_view(frame: pd.DataFrame) -> list[list[Any]]:
    """What the Parquet and the view both tell, with None for what is missing."""
    names = ["run", "call", "step", "purpose", "image", "candidate", "label", "score", "charged", "query"]
    plain = frame[names].astype({"run": "int64", "charged": bool, "purpose": str, "score": "float32"}).astype(object)
    actual: list[list[Any]] = plain.where(plain.notna(), None).values.tolist()
    return actual


@pytest.mark.parametrize("page_queries", [1, 3, pages.PAGE_QUERIES])
def test_the_queries_are_those_of_the_view(
    ledger_path: Path, tmp_path: Path, page_queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_QUERIES", page_queries)
    observed = export(ledger_path, tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "queries")
    assert as_view(frame) == as_view(reads.queries(ledger_path))
    assert (observed.queries, observed.charged) == (12, 12)
    assert observed.runs == {n: {"queries": count, "charged": count} for n, count in ((1, 7), (2, 0), (3, 5))}


def test_the_answers_are_as_they_were_told(ledger_path: Path, tmp_path: Path) -> None:
    export(ledger_path, tmp_path / "out")
    one = pq.read_table(tmp_path / "out" / "queries" / "run=1" / "part-0.parquet")
    assert [str(one.schema.field(name).type.value_type) for name in ("classes", "scores")] == ["int32", "float"]
    assert np.array(one["scores"].to_pylist(), np.float32).tobytes() == reads.answers(ledger_path, 1).tobytes()
    assert one["classes"].null_count == 7
    three = pq.read_table(tmp_path / "out" / "queries" / "run=3" / "part-0.parquet")
    assert three["classes"].to_pylist() == [[3, 0], [1, MISSING], [2], [MISSING], [0]]
    assert three["scores"].to_pylist()[:2] == TOP.values.tolist()
    assert three["scores"].null_count == 3
    assert three["codec"].to_pylist() == ["topk/4/2/0.0"] * 2 + ["labels/4"] * 3
    assert not (tmp_path / "out" / "queries" / "run=2").exists()


def test_every_other_table_is_a_file(ledger_path: Path, tmp_path: Path) -> None:
    observed = export(ledger_path, tmp_path / "out")
    frames = {name: pd.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in RECORDS}
    assert {name: len(frame) for name, frame in frames.items()} == observed.records
    told = {name: rows for name, rows in observed.records.items() if rows}
    assert told == {"runs": 3, "steps": 3, "refusals": 1, "triggers": 1, "verdicts": 1}
    assert frames["runs"]["key"].tolist() == reads.runs(ledger_path)["key"].tolist()
    assert frames["steps"][["run", "step", "purpose"]].values.tolist() == [
        *([1, 0, "check"], [1, 1, "search"], [3, 0, "search"])
    ]
    assert frames["refusals"][["run", "step", "queries", "reason"]].values.tolist() == [[1, 1, 9, "budget"]]
    (trigger,) = frames["triggers"].to_dict("records")
    assert (trigger["run"], trigger["target_class"], pd.isna(trigger["success_rate"])) == (1, 3, True)
    assert (trigger["mask"].dtype, trigger["mask"].tolist()) == (np.float32, [0.25] * 6)
    assert len(trigger["pattern"]) == 18
    verdict = frames["verdicts"].iloc[0]
    assert (verdict["verdict"], verdict["spent"], verdict["refused"]) == ("clean", 7, 9)
    assert not any(name.endswith("id") for frame in frames.values() for name in frame.columns)


def test_the_manifest_counts(ledger_path: Path, tmp_path: Path) -> None:
    observed = export(ledger_path, tmp_path / "out", run=1)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest == {**vars(observed), "runs": {"1": {"queries": 7, "charged": 7}}}
    assert manifest["ledger"] == "ledger.db"
    assert pd.read_parquet(tmp_path / "out" / "runs.parquet")["run"].tolist() == [1]
    assert pd.read_parquet(tmp_path / "out" / "steps.parquet")["run"].tolist() == [1, 1]
    assert sorted(p.name for p in (tmp_path / "out" / "queries").iterdir()) == ["run=1"]


def test_a_ledger_of_nothing_is_exported(path: Path, tmp_path: Path) -> None:
    Ledger.open(path).close()
    assert export(path, tmp_path / "out").queries == 0
    assert len(pd.read_parquet(tmp_path / "out" / "steps.parquet")) == 0


def test_a_link_to_an_empty_folder_leads_there(ledger_path: Path, tmp_path: Path) -> None:
    folder, link = tmp_path / "empty", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    export(ledger_path, link)
    assert (folder / MANIFEST).is_file()
    assert link.is_symlink()


def test_an_empty_folder_will_do_and_what_a_kill_left_does_not_matter(ledger_path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.simkit-building").mkdir()
    (tmp_path / ".out.simkit-building" / "torn.parquet").write_text("half")
    export(ledger_path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("torn*"))
    assert not (tmp_path / ".out.simkit-building").exists()


BREAK = {
    "checksum": "UPDATE calls SET crc32 = crc32 + 1 WHERE run_id = 3 AND number = 1",
    "length": "UPDATE calls SET queries = 1, charged = 1, rows = '[[0,0,0,null]]', crc32 = 0 WHERE number = 1",
}


@pytest.mark.parametrize("statement", BREAK.values(), ids=BREAK)
def test_a_damaged_call_leaves_nothing(ledger_path: Path, tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(ledger_path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(StorageError, match=r"ledger\.db: run [13], call 1 is damaged"):
        export(ledger_path, tmp_path / "out")
    assert not [p.name for p in tmp_path.iterdir() if "out" in p.name]


def test_files_that_hold_less_than_the_ledger_counts_are_not_kept(
    ledger_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(connection: Any, run: int) -> Any:
        for page in pages.pages(connection, run):
            yield replace(page, charged=page.charged - 1)

    monkeypatch.setattr("db.export.pages", lossy)
    with pytest.raises(StorageError, match="hold other numbers of queries than the ledger"):
        export(ledger_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_told_before_anything_is_written(ledger_path: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "kept.txt").write_text("kept")
    for folder, run, words in ((full, None, "not empty"), (full / "kept.txt", None, "not empty"), (full, 9, "not em")):
        with pytest.raises(StorageError, match=words):
            export(ledger_path, folder, run)
    with pytest.raises(UnknownRun, match="no run 9; `simkit db runs` lists them"):
        export(ledger_path, tmp_path / "out", 9)
    with pytest.raises(StorageError, match="no ledger there"):
        export(tmp_path / "missing.db", tmp_path / "out")
    assert [p.name for p in full.iterdir()] == ["kept.txt"]
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_and_leaves_nothing(
    ledger_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("db.export.os.replace", full)
    with pytest.raises(StorageError, match=r"out: the disk is full"):
        export(ledger_path, tmp_path / "out")
    assert not [p.name for p in tmp_path.iterdir() if "out" in p.name]


def test_duckdb_reads_it(ledger_path: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    export(ledger_path, tmp_path / "out")
    sql = f"SELECT run, count(*), sum(charged::int), max(len(scores)) FROM '{tmp_path}/out/queries/*/*.parquet'"
    assert duckdb.sql(f"{sql} GROUP BY run ORDER BY run").fetchall() == [(1, 7, 7, 4), (3, 5, 5, 2)]
