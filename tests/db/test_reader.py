"""`db.open`: what a notebook sees, and that a scan does not notice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import db
from db.errors import NotALedger, StorageError
from db.ledger import Ledger
from db.records import TriggerRow
from tests.db.conftest import Call, MakeCall, MakeRun, MakeVerdict

WRITER = """
import sys
from pathlib import Path

from db.ledger import Ledger
from tests.db.conftest import _call, _run

with Ledger.open(Path(sys.argv[1])) as ledger:
    run = ledger.begin(_run())
    for number, line in enumerate(sys.stdin):
        step = run.open_step(number, "search", f'{{"loss": {number}}}')
        run.record(_call(step, queries=int(line)))
        print("stored", flush=True)
"""
"""Holds the ledger open and commits a call for each line it is told."""


@pytest.fixture
def ledger_path(path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict) -> Path:
    """Run 1: an external call between steps, a step that was refused, and a trigger. Run 2: labels alone."""
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run("one", budget=50))
        run.record(make_call(run.open_step(0, "check", "{}"), queries=2, seed=1))
        run.record(make_call(None, queries=1, seed=2))
        run.record(make_call(run.open_step(1, "search", '{"loss": 0.5, "step": 9}'), queries=3, seed=3))
        run.refuse(run.open_step(2, "search", '{"loss": 0.25, "best": [1, 2]}'), 9, "budget")
        blank = np.zeros((1, 2, 2), np.float32)
        run.finish(make_verdict(6, 9), [TriggerRow(3, blank, blank, 0.0, None, 0, 0, True)])
        labels = np.array([2], np.int32)
        other = ledger.begin(make_run("two"))
        other.record(Call(None, np.zeros((1, 2), np.int32), labels, None, "labels/4", labels.astype("<i2").tobytes()))
    return path


def test_every_method_reads_what_its_function_reads(ledger_path: Path) -> None:
    with db.open(str(ledger_path)) as ledger:
        assert ledger.runs()["run"].tolist() == [1, 2]
        assert ledger.verdicts()["verdict"].tolist() == ["clean"]
        assert ledger.spend()["charged"].tolist() == [2, 1, 3, 1]
        assert ledger.queries()["query"].tolist() == [0, 1, 2, 3, 4, 5, 0]
        assert ledger.queries(1, limit=4)["query"].tolist() == [0, 1, 2, 3]
        assert ledger.steps(1)["queries"].tolist() == [2, 3, 0]
        assert [trigger.target_class for trigger in ledger.triggers(1)] == [3]
        assert repr(ledger) == f"db.open({str(ledger_path)!r})"


def test_answers_that_were_damaged_are_not_handed_out(ledger_path: Path) -> None:
    with sqlite3.connect(ledger_path) as connection:
        connection.execute("UPDATE calls SET answers = zeroblob(length(answers)) WHERE run_id = 1 AND number = 2")
    connection.close()
    with pytest.raises(StorageError, match="run 1, call 2 is damaged"):
        db.open(ledger_path).answers(1)


def test_the_curve_is_what_was_known_against_what_was_asked(ledger_path: Path) -> None:
    curve = db.open(ledger_path).curve(1)
    assert curve.columns.tolist() == ["step", "purpose", "queries", "loss", "best"]
    assert curve[["step", "queries"]].values.tolist() == [[0, 0], [1, 3], [2, 6]]
    assert curve["loss"].fillna(-1).tolist() == [-1, 0.5, 0.25]
    assert len(db.open(ledger_path).curve(2)) == 0


def test_answers_are_the_scores_as_they_were_told(ledger_path: Path, make_call: MakeCall) -> None:
    answers = db.open(ledger_path).answers(1)
    assert answers.dtype == np.float32
    calls = [make_call(queries=n, seed=seed) for n, seed in ((2, 1), (1, 2), (3, 3))]
    assert answers.tobytes() == b"".join(call.answers for call in calls)
    assert answers.shape == (6, 4)
    with pytest.raises(StorageError, match=r"ledger\.db: run 2 has labels only; read the column `label`"):
        db.open(ledger_path).answers(2)
    with pytest.raises(StorageError, match="run 3 has no queries"):
        db.open(ledger_path).answers(3)


def test_sql_takes_values_by_name_and_leaves_text_alone(ledger_path: Path) -> None:
    ledger = db.open(ledger_path)
    actual = ledger.sql("SELECT count(*) AS n, '%H:%M' AS t FROM queries WHERE run = :run AND step > :s", run=1, s=-1)
    assert actual.values.tolist() == [[5, "%H:%M"]]
    assert ledger.sql("SELECT :nothing AS a", nothing=None)["a"].tolist() == [None]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM runs", "readonly"),
        ("CREATE TABLE mine (x)", "readonly"),
        ("SELECT nothing_there FROM runs", "no such column"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("ROLLBACK", "give a SELECT"),
        ("SELECT :missing", "missing"),
    ],
)
def test_what_is_no_select_is_one_line_and_changes_nothing(ledger_path: Path, statement: str, words: str) -> None:
    before = ledger_path.read_bytes()
    with pytest.raises(StorageError, match=words) as error:
        db.open(ledger_path).sql(statement)
    assert str(ledger_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert ledger_path.read_bytes() == before


def test_nothing_is_opened_where_no_ledger_is(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no ledger there"):
        db.open(tmp_path / "missing.db")
    (tmp_path / "notes.txt").write_text("no ledger\n" * 20)
    with pytest.raises(NotALedger):
        db.open(tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.process
def test_importing_db_reads_nothing_heavy() -> None:
    observed = subprocess.run(
        [sys.executable, "-c", "import db, sys; print([n for n in ('pandas', 'sqlalchemy') if n in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert observed.stdout == "[]\n"


@pytest.fixture
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def store(writer: subprocess.Popen[str], queries: int) -> None:
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{queries}\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "stored\n"


@pytest.mark.process
def test_a_notebook_sees_every_commit_of_another_process_and_never_stops_it(
    path: Path, writer: subprocess.Popen[str]
) -> None:
    store(writer, 3)
    ledger = db.open(path)
    snapshot = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    snapshot.execute("BEGIN")
    assert snapshot.execute("SELECT count(*) FROM queries").fetchone() == (3,)
    for n in range(2, 6):  # the writer goes on though a reader stays inside a snapshot
        store(writer, n + 1)
        curve = ledger.curve(1)
        asked = [3, *range(3, n + 2)]
        assert curve["loss"].tolist() == list(range(n))
        assert len(ledger.queries(1)) == len(ledger.answers(1)) == sum(asked)
        assert curve["queries"].tolist() == np.cumsum([0, *asked[:-1]]).tolist()
    assert snapshot.execute("SELECT count(*) FROM queries").fetchone() == (3,)
    snapshot.close()


def test_a_call_that_is_not_committed_is_not_seen_by_half(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.record(make_call(queries=2))
        with ledger.transaction() as connection:
            connection.exec_driver_sql("UPDATE runs SET state = 'done'")
            seen = db.open(path)
            assert seen.runs()[["state", "spent"]].values.tolist() == [["open", 2]]
            assert json.loads(seen.runs()["oracle"][0]) == {"k": 1}


def test_a_notebook_shows_the_runs_with_their_names_escaped(path: Path, make_run: MakeRun, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(replace(make_run("one", budget=50), model="<script>&"))
        run.record(make_call(run.open_step(0, "check", "{}"), queries=2, seed=1))
    html = db.open(path)._repr_html_()
    assert "1 run<" in html
    assert "<td>&lt;script&gt;&amp;</td>" in html
    assert "<script" not in html
    assert "<td>50</td>" in html
    assert "<td>2</td>" in html
    assert "nan" not in html.lower()
    assert "None" not in html


def test_a_notebook_shows_verdicts(ledger_path: Path) -> None:
    html = db.open(ledger_path)._repr_html_()
    assert "2 runs<" in html
    assert "<td>clean</td>" in html
    assert html.count("<tr") == 3


def test_a_notebook_shows_that_there_is_no_run_yet(path: Path) -> None:
    with Ledger.open(path):
        pass
    html = db.open(path)._repr_html_()
    assert "no run yet" in html
    assert "<table" not in html
