"""What a provider looks at: sums by key, spend over time, refusals, alarms, and the images that were asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import StorageError
from db.ledger import Ledger
from db.records import FloatArray, RunInfo
from db.run import Run
from db.service_records import Alarm, Beside, image_sha256
from db.service_views import WIDTHS, Activity, Refusals, Spending, activity, asked_calls, kept_picture, spending
from tests.db.conftest import MakeCall, MakeRun

IMAGES: FloatArray = np.random.default_rng(3).random((40, 1, 4, 4)).astype(np.float32)
RunOf = Callable[[str, str | None], RunInfo]


@pytest.fixture(scope="session")
def run_of(make_run: MakeRun) -> RunOf:
    def of(name: str, caller: str | None) -> RunInfo:
        config = "{}" if caller is None else f'{{"service": {{"key": "{caller}"}}}}'
        return replace(make_run(name), config=config, model=f"model-{name}")

    return of


def test_an_empty_ledger_has_nothing(path: Path) -> None:
    with Ledger.open(path):
        assert activity(path) == activity(path, "a") == Activity((), (), (), 0, {})
        assert spending(path, "a") == Spending(0.0, 60, ())
        assert asked_calls(path, "a") == []
        assert kept_picture(path, "0" * 64) is None


def test_activity_is_summed_by_key_and_model_and_scans_are_left_out(
    path: Path, run_of: RunOf, make_call: MakeCall
) -> None:
    with Ledger.open(path) as ledger:
        names = (("1", "a"), ("2", "a"), ("3", "b"), ("4", None))
        runs = [ledger.begin(run_of(*of)) for of in names]
        for number, run in enumerate(runs):
            run.record(make_call(queries=number + 1))
            run.record(make_call(queries=5))
            run.refuse(None, 9 - number, "rate")
        runs[1].tally(30, "budget")
        for score in (0.25, 0.5):
            runs[0].alarm(Alarm("prada", score, 0, 1, "log"))
        runs[2].alarm(Alarm("piha", 1.0, 2, 3, "ban"))
        every, one = activity(path), activity(path, "a")
    assert [(use.caller, use.model, use.calls, use.charged) for use in every.uses] == [
        ("a", "model-1", 2, 6),
        ("a", "model-2", 2, 7),
        ("b", "model-3", 2, 8),
    ]
    assert one.uses == every.uses[:2]
    assert every.refused == (Refusals("budget", 30), Refusals("rate", 9 + 8 + 7))
    assert one.refused == (Refusals("budget", 30), Refusals("rate", 9 + 8))
    assert [(alarm.caller, alarm.model, alarm.detector, alarm.score) for alarm in every.alarms] == [
        ("b", "model-3", "piha", 1.0),
        ("a", "model-1", "prada", 0.5),
        ("a", "model-1", "prada", 0.25),
    ]
    assert (every.alarm_count, one.alarm_count) == (3, 2)
    assert (list(every.banned), one.banned) == (["b"], {})


def test_only_the_latest_alarms_are_listed_and_all_are_counted(path: Path, run_of: RunOf) -> None:
    with Ledger.open(path) as ledger:
        run = ledger.begin(run_of("1", "a"))
        for first in range(7):
            run.alarm(Alarm("prada", 0.5, first, 1, "log"))
        found = activity(path, most_alarms=3)
    assert ([alarm.first for alarm in found.alarms], found.alarm_count) == ([6, 5, 4], 7)


def timed(run: Run, make_call: MakeCall, times: list[float], patch: pytest.MonkeyPatch) -> None:
    for at in times:
        patch.setattr("time.time", lambda at=at: at)
        run.record(make_call(queries=2))


@settings(max_examples=30, deadline=None)
@given(gaps=st.lists(st.floats(0, 40 * 86400), min_size=1, max_size=6), start=st.floats(0, 4e9))
def test_spending_covers_every_call_in_few_bars(
    tmp_path_factory: pytest.TempPathFactory, run_of: RunOf, make_call: MakeCall, gaps: list[float], start: float
) -> None:
    path, times = tmp_path_factory.mktemp("spend") / "a.db", list(start + np.cumsum(gaps))
    with Ledger.open(path) as ledger, pytest.MonkeyPatch.context() as patch:
        timed(ledger.begin(run_of("1", "a")), make_call, times, patch)
        timed(ledger.begin(run_of("2", "b")), make_call, times, patch)
    found = spending(path, "a", most=12)
    assert sum(found.charged) == 2 * len(times)
    assert len(found.charged) <= 14
    assert found.charged[0] > 0 < found.charged[-1]
    assert found.start <= times[0] < found.start + found.seconds
    assert found.seconds in WIDTHS
    last = found.start + len(found.charged) * found.seconds
    assert last - found.seconds <= times[-1] < last


def test_spending_of_many_years_has_wider_bars(
    path: Path, run_of: RunOf, make_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(path) as ledger:
        timed(ledger.begin(run_of("1", "a")), make_call, [0.0, 2e9], monkeypatch)
    found = spending(path, "a", most=4)
    assert (len(found.charged), sum(found.charged)) == (4, 4) or len(found.charged) == 5
    assert found.seconds > WIDTHS[-1]


def test_images_are_listed_newest_first_and_page_by_page(path: Path, run_of: RunOf, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        run, other = ledger.begin(run_of("1", "a")), ledger.begin(run_of("2", "b"))
        for first in range(0, 40, 4):
            run.record(make_call(queries=4), Beside(images=IMAGES[first : first + 4], room=100 * (first < 36)))
            other.record(make_call(queries=1), Beside(images=IMAGES[:1], room=0))
        page = asked_calls(path, "a", images=10)
        assert [call.first for call in page] == [36, 32, 28]
        assert page[0].hashes == tuple(map(image_sha256, IMAGES[36:]))
        assert page[0].kept == frozenset()
        assert page[1].kept < frozenset(page[1].hashes)
        rest = asked_calls(path, "a", page[-1].id, images=1000)
        assert [call.first for call in rest] == [24, 20, 16, 12, 8, 4, 0]
        assert {call.model for call in (*page, *rest)} == {"model-1"}
        assert asked_calls(path, "a", rest[-1].id) == []


def test_a_kept_image_comes_back_and_a_damaged_one_is_told(path: Path, run_of: RunOf, make_call: MakeCall) -> None:
    with Ledger.open(path) as ledger:
        ledger.begin(run_of("1", "a")).record(make_call(queries=2), Beside(images=IMAGES[:2], room=10_000))
        first, second = map(image_sha256, IMAGES[:2])
        found = kept_picture(path, second)
        assert found is not None
        assert np.array_equal(found, IMAGES[1])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE pictures SET data = (SELECT data FROM pictures WHERE sha256 = ?)", (first,))
    connection.close()
    with pytest.raises(StorageError, match="damaged"):
        kept_picture(path, second)
