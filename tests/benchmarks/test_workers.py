"""Scans whose workers are killed, in small: each says what it says alone, and is charged once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from benchmarks import workers as benchmark
from benchmarks.workers import Crew, Task, charges, scanned, two_of_dask, two_processes, under_kills
from studies.study.executors import Workers
from studies.study.result_line import ResultLine
from studies.study.unit import UnitKey
from tests.threads import one_torch_thread

pytestmark = pytest.mark.process

SETTINGS = {"budget": 2_500, "search_images": 32, "verify_images": 32}


@pytest.fixture(scope="module")
def serial(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[UnitKey, ResultLine]:
    """The lines of five scans, one after another."""
    with one_torch_thread():
        return scanned(Task(zoo, "b3d", 5, SETTINGS).units(tmp_path_factory.mktemp("serial")), Workers(1))


@pytest.mark.parametrize(("crew", "scans", "kills"), [(two_processes, 5, 2), (two_of_dask, 3, 1)])
def test_kills_change_nothing(
    crew: Crew, scans: int, kills: int, zoo: Path, serial: dict[UnitKey, ResultLine], tmp_path: Path
) -> None:
    if crew is two_of_dask:
        pytest.importorskip("distributed", reason="no Dask: pip install 'b3d-simkit[dask]'")
    task = Task(zoo, "b3d", scans, SETTINGS)
    found = under_kills(task, tmp_path / "killed", serial, (crew, kills, 0))
    assert {name: found[name] for name in ("lines", "equal", "charged_once", "kills")} == {
        **dict.fromkeys(("lines", "equal", "charged_once"), scans),
        "kills": kills,
    }
    assert (found["differ"], found["charged_otherwise"]) == (0, 0)


def test_what_differs_is_counted(zoo: Path, tmp_path: Path) -> None:
    task = Task(zoo, "random-patch", 3, SETTINGS)
    with one_torch_thread():
        serial = scanned(task.units(tmp_path / "serial"), Workers(1))
        first = next(iter(serial))
        wrong = serial | {first: serial[first].model_copy(update={"score": -1.0})}
        scanned(task.units(tmp_path / "two"), Workers(1))
    charged = next(path for path in (tmp_path / "two" / "ledgers").glob("*.db"))
    with sqlite3.connect(charged) as ledger:
        ledger.execute("UPDATE calls SET charged = charged - 1 WHERE id = 1")
    assert len(charges(tmp_path / "two" / "ledgers")) == 3
    found = under_kills(task, tmp_path / "two", wrong, (two_processes, 0, 0))
    assert (found["equal"], found["differ"], found["charged_once"], found["charged_otherwise"]) == (2, 1, 2, 1)


def test_the_benchmark_writes_its_lines(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "under_kills", lambda *_: {"kills": 0})
    out = tmp_path / "results" / "workers.jsonl"
    with one_torch_thread():
        benchmark.main(
            zoo, "digits", detector="random-patch", budget=500, scans=3, rounds=1, crew=["processes"], out=out
        )
    first, second = map(json.loads, out.read_text().splitlines())
    assert first["ratio"] == pytest.approx(first["seconds_of_one"][0] / first["seconds_of_two"][0], abs=0.01)
    assert (second["measured"], second["scans"]) == ("kills", 3)
