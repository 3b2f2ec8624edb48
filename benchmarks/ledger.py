"""Cost of a large ledger: bytes per query, and the time to write, read, check, export, merge and report it.

python benchmarks/ledger.py --queries 5000000 --out results/ledger.jsonl
"""

from __future__ import annotations

import json
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

import db
from db.check import check
from db.export import export
from db.ledger import Ledger
from db.merge import merge
from db.records import RunInfo, TriggerRow, VerdictRow
from oracles.answers import Answer, FloatArray, Scores
from oracles.budget import Budget
from oracles.oracle import ImageShape, Tag
from oracles.spec import OracleSpec, build
from simkit.files import make_folder, write_atomically
from simkit.seeding import stream
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.report.gather import gather
from studies.report.page import render

CALL, CLASSES, SIDE = 200, 10, 32
SCAN = 500_000
"""Most queries per run, slightly more than the longest scan of `results/cifar10.jsonl`."""

_BLOCKS = 64
"""Number of different blocks of planted answers, since drawing all answers would distort the timing."""


class PlantedAnswers:
    """Answers immediately, with softmax scores that differ between neighbouring calls."""

    n_classes = CLASSES
    image_shape: ImageShape = (1, 1, 1)

    def __init__(self) -> None:
        draws = stream(0, "benchmark", "ledger").gumbel(0.0, 3.0, (_BLOCKS, CALL, CLASSES))
        scores = np.exp(draws - draws.max(axis=2, keepdims=True))
        self._scores: FloatArray = (scores / scores.sum(axis=2, keepdims=True)).astype(np.float32)
        self._calls = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`."""
        self._calls += 1
        return Scores(self._scores[self._calls % _BLOCKS][: len(images)])


@dataclass(frozen=True)
class Line:
    """One measurement: what was done, wall time, CPU time, and the amount of work for a rate."""

    what: str
    seconds: float
    cpu_seconds: float
    amount: int = 0
    unit: str = ""

    def row(self) -> dict[str, Any]:
        """The measurement as a row of the table."""
        rate = f"{self.amount / self.seconds:,.0f} {self.unit}/s" if self.amount else None
        seconds = {"seconds": round(self.seconds, 3), "cpu": round(self.cpu_seconds, 3)}
        return {"what": self.what, **seconds, "rate": rate}


def main(
    queries: Annotated[int, typer.Option(help="Number of queries to store.")] = 5_000_000,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file to add the figures to.")] = None,
    scratch: Annotated[Path | None, typer.Option(help="A folder for the ledger; it takes 64 bytes per query.")] = None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="simkit-ledger-", dir=scratch) as folder:
        path = Path(folder) / "ledger.db"
        lines = [timed("write", lambda: write(path, queries), queries, "queries")]
        size = path.stat().st_size
        lines += read(path, queries) + rework(path, Path(folder), queries)
    typer.echo(f"{queries:,} queries, {size / queries:.1f} bytes each, SQLite {sqlite3.sqlite_version}")
    print_table([line.row() for line in lines], ("what", "seconds", "cpu", "rate"))
    if out is not None:
        make_folder(out.parent)
        seconds = {line.what: [round(line.seconds, 3), round(line.cpu_seconds, 3)] for line in lines}
        figures = {
            "queries": queries,
            "bytes": size,
            "bytes_per_query": round(size / queries, 2),
            "seconds_and_cpu": seconds,
        }
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures | machine()) + "\n")


def timed(what: str, work: Callable[[], object], amount: int = 0, unit: str = "") -> Line:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return Line(what, time.perf_counter() - started, time.process_time() - cpu, amount, unit)


def write(path: Path, queries: int) -> None:
    """Write one run after another through meter and recorder, like a scan."""
    with Ledger.open(path) as ledger:
        for number, first in enumerate(range(0, queries, SCAN)):
            write_run(ledger, number, min(SCAN, queries - first))


def write_run(ledger: Ledger, number: int, queries: int) -> None:
    key = f"{number:064x}"
    run = ledger.begin(RunInfo(key, f"planted {number}", key, "none", "0", "{}", "{}", number, None, "{}"))
    oracle = build(OracleSpec(), PlantedAnswers(), Budget(None), run)
    images = torch.zeros(CALL, 1, 1, 1)
    candidates = np.repeat(np.arange(CALL // 4, dtype=np.int32), 4)
    for step in range(-(-queries // CALL)):
        rows = np.column_stack([(np.arange(CALL, dtype=np.int32) * 7 + step) % 128, candidates])
        asked = min(CALL, queries - step * CALL)
        oracle.query(images[:asked], Tag(run.open_step(step, "search", state(step)), rows[:asked]))
    mask = np.full((1, SIDE, SIDE), 0.5, np.float32)
    pattern = np.zeros((3, SIDE, SIDE), np.float32)
    size = float(mask.sum())
    triggers = [TriggerRow(c, mask, pattern, size, 0.9375, 120, 128, False) for c in range(CLASSES)]
    planted = ("below_median", 0.25, "planted", run.spent, run.refused, 1.0, 0.9)
    run.finish(VerdictRow("clean", "converged", (), 0.1, *planted, notes=""), triggers)


def state(step: int) -> str:
    """A step's state in the form of B3D's."""
    turn, target = divmod(step, CLASSES)
    progress = {
        "round": turn,
        "class": target,
        "loss": -1.0 / (1 + turn),
        "sparsity_weight": 0.001 * 1.1 ** (turn % 50),
    }
    size = {"expected_mask_size": 512.0 / (1 + turn / 30), "best_mask_size": None if turn < 10 else 9.0}
    return json.dumps(progress | size | {"digest": f"{step * 2654435761 % 2**32:08x}"})


def read(path: Path, queries: int) -> list[Line]:
    """Typical reads of an analysis."""
    ledger = db.open(path)
    ids = ledger.runs()["run"].tolist()
    by_label = "SELECT label, count(*), avg(score) FROM queries GROUP BY label"
    return [
        timed("view queries, GROUP BY label", lambda: ledger.sql(by_label), queries, "rows"),
        timed("view queries, first 1000 rows", lambda: ledger.queries(limit=1000)),
        timed("runs, spend, verdicts", lambda: (ledger.runs(), ledger.spend(), ledger.verdicts())),
        timed("curves of all runs", lambda: [ledger.curve(run) for run in ids], queries, "queries"),
        timed("answers of all runs as arrays", lambda: [ledger.answers(run) for run in ids], queries, "queries"),
    ]


def rework(path: Path, folder: Path, queries: int) -> list[Line]:
    """Operations on a whole file. Raises AssertionError if the ledger is not intact."""
    return [
        timed("db check", lambda: sound(path), queries, "queries"),
        timed("export to Parquet", lambda: export(path, folder / "tables"), queries, "queries"),
        timed("merge into a new file", lambda: merge(folder / "merged.db", [path]), queries, "queries"),
        timed("merge once more", lambda: merge(folder / "merged.db", [path])),
        timed("report", lambda: write_atomically(folder / "report.html", render(gather(path)).encode())),
    ]


def sound(path: Path) -> None:
    mismatches = check(path)
    assert not mismatches, mismatches


def machine() -> dict[str, Any]:
    """The versions and platform on which the measurements depend."""
    return {
        "simkit": version("b3d-simkit"),
        "sqlite": sqlite3.sqlite_version,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    run(main, __doc__)
