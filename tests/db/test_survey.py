"""What a report reads of a ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from db.ledger import Ledger
from db.records import TriggerRow
from db.service_records import Alarm
from db.survey import run_ids, survey
from tests.db.conftest import MakeCall, MakeRun, MakeVerdict


def test_a_run_is_told_whole(path: Path, make_run: MakeRun, make_call: MakeCall, make_verdict: MakeVerdict) -> None:
    info = make_run(budget=50)
    blank = np.ones((1, 2, 2), np.float32)
    trigger = TriggerRow(2, blank, blank, 4.0, 0.5, 1, 2, False)
    with Ledger.open(path) as ledger:
        run = ledger.begin(info)
        steps = [run.open_step(0, "check", '{"a":1}'), run.open_step(1, "search", '{"b":2}')]
        run.open_step(2, "verify", "{}")  # never answered
        for step, queries in ((steps[0], 3), (steps[1], 4), (None, 5), (steps[1], 6)):
            run.record(make_call(step, queries))
        run.refuse(None, 7, "budget")
        run.refuse(steps[1], 2, "budget")
        run.refuse(None, 1, "rate")
        run.finish(make_verdict(18, 10, "clean"), [trigger])
    (observed,) = survey(path)
    assert (observed.id, observed.info, observed.spent) == (1, info, 18)
    asked = [(s.purpose, s.state, s.first, s.calls, s.queries, s.charged) for s in observed.steps]
    assert asked == [
        ("check", '{"a":1}', 0, 1, 3, 3),
        ("search", '{"b":2}', 3, 2, 10, 10),
        ("external", "{}", 7, 1, 5, 5),
    ]
    assert observed.refusals == (("budget", 9), ("rate", 1))
    assert observed.verdict == make_verdict(18, 10, "clean")
    assert [(t.target_class, t.mask_size) for t in observed.triggers] == [(2, 4.0)]


def test_alarms_are_counted_by_detector(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(make_run())
        run.alarm(Alarm("piha", 1.0, 7, 1, "log"), Alarm("prada", 0.2, 3, 2, "log"), Alarm("piha", 1.0, 5, 1, "log"))
    assert next(survey(path)).alarms == (("piha", 2, 5), ("prada", 2, 3))


def test_the_newest_comes_first_and_an_open_one_has_no_verdict(path: Path, make_run: MakeRun) -> None:
    with Ledger.open(path) as ledger:
        for name in ("a", "b", "c"):
            ledger.begin(make_run(name))
    assert run_ids(path) == [3, 2, 1]
    assert [run.info.model for run in survey(path)] == ["c.onnx", "b.onnx", "a.onnx"]
    (only,) = survey(path, [2])
    assert (only.info.model, only.verdict, only.steps, only.triggers, only.spent) == ("b.onnx", None, (), (), 0)


def test_a_file_of_an_older_schema_is_read_as_it_is(path: Path) -> None:
    shutil.copy(Path(__file__).parent / "schemas" / "v1.db", path)
    observed = list(survey(path))
    finished = [run.verdict for run in observed if run.verdict is not None]
    assert finished
    assert {verdict.cost for verdict in finished} == {None}
