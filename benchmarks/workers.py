"""Several workers: the speed of two relative to one, and whether scans with killed workers give the same results.

python benchmarks/workers.py ZOO --data PATH --out results/workers.jsonl

First the same scans are done by one process and by two, with one torch thread each; for this ratio of seconds nothing
else may run. Then the scans are repeated while workers are killed, both processes and workers of a Dask cluster: after
a random number of scans and a random part of a scan's time, one busy worker is killed. Every line is compared with that
of the single process and with the queries charged in its ledger.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from simkit.files import make_folder
from simkit.seeding import stream
from simkit.zoo.manifest import Manifest
from studies.cli.scripts import run
from studies.scan.run_key import environment
from studies.study.detectors import method
from studies.study.executors import DASK, Workers
from studies.study.image_hashes import ImageHashes
from studies.study.plan import done_of, units_of
from studies.study.result_line import ResultLine
from studies.study.unit import Study, Unit, UnitKey
from studies.study.workers import work_through

COMPARED = ("verdict", "stopped", "flagged", "score", "queries", "classes")

AtWork: TypeAlias = Callable[[], Sequence[int]]
"""The process ids of the workers that are busy with a scan."""

Crew: TypeAlias = Callable[[], AbstractContextManager[tuple[Workers, AtWork]]]

_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Task:
    """The scans: all victims of a zoo with one seed after another, until there are `scans` of them."""

    zoo: Path
    detector: str
    scans: int
    settings: Mapping[str, Any]

    def units(self, folder: Path) -> tuple[Unit, ...]:
        """The scans, with their files in `folder`."""
        manifest, images = Manifest.load(self.zoo), ImageHashes()
        spec, units = manifest.spec, list[Unit]()
        of_zoo = {"data": spec.data, "image_size": spec.image_size, "image_shape": manifest.image_shape}
        for seed in range(-(-self.scans // len(manifest.victims))):
            settings = {**of_zoo, **self.settings, "seed": seed}
            study = Study(self.zoo, spec.name, spec.split, folder / "results.jsonl", folder / "ledgers", settings)
            units += units_of(study.absolute(), manifest.victims, [method(self.detector)], images)
        return tuple(units[: self.scans])


def main(  # noqa: PLR0913 (the options are the interface)
    zoo: Annotated[Path, typer.Argument(help="A zoo's folder.")],
    data: Annotated[str, typer.Option(help="The images that the zoo was trained on.")],
    detector: Annotated[str, typer.Option(help="The detector, as in simkit study scan.")] = "race",
    budget: Annotated[int, typer.Option(help="Query budget per scan.")] = 3_000,
    scans: Annotated[int, typer.Option(help="Number of scans: victims times seeds.")] = 60,
    kills: Annotated[int, typer.Option(help="Number of killed workers.")] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds of timing one and two processes in turns.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the times of kills and of the killed workers.")] = 0,
    crew: Annotated[
        list[str] | None, typer.Option(help="Whose workers are killed: processes, dask; default both.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per part.")] = None,
) -> None:
    task = Task(zoo, detector, scans, {"data": data, "budget": budget})
    header = {"zoo": zoo.name, "detector": detector, "budget": budget, "scans": scans, "environment": environment()}
    with tempfile.TemporaryDirectory(prefix="simkit-workers-") as name:
        folder, wrong = Path(name), 0
        for line in measurements(task, folder, rounds, (crew or tuple(CREWS), kills, seed)):
            typer.echo(json.dumps(line))
            wrong += line.get("differ", 0) + line.get("charged_otherwise", 0)
            if out is not None:
                make_folder(out.parent)
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(header | line) + "\n")
    if wrong:
        raise typer.Exit(1)


def measured(task: Task, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of one process and of two, measured in turns, and the ratio of the medians."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for processes, seconds in taken.items():
            units = task.units(folder / f"{processes}-{number}")
            began = time.perf_counter()
            scanned(units, Workers(processes))
            seconds.append(round(time.perf_counter() - began, 2))
    single, double = (statistics.median(seconds) for seconds in taken.values())
    return {"measured": "two to one", "seconds_of_one": taken[1], "seconds_of_two": taken[2], "ratio": single / double}


def measurements(
    task: Task, folder: Path, rounds: int, kills: tuple[Sequence[str], int, int]
) -> Iterator[dict[str, Any]]:
    """Each part when it is done. kills: the crews, the number of kills, and their seed."""
    crews, count, seed = kills
    yield measured(task, folder, rounds)
    serial = scanned(task.units(folder / "serial"), Workers(1))
    for name in crews:
        figures = under_kills(task, folder / name, serial, (CREWS[name], count, seed))
        yield {"measured": "kills", "executor": name} | figures


def scanned(units: Sequence[Unit], workers: Workers) -> dict[UnitKey, ResultLine]:
    """The line of every unit, by its key; units without a line are printed."""
    for outcome in work_through(units, workers):
        if outcome.state != "scanned":
            typer.echo(f"victim {outcome.unit.victim.index}: {outcome.state} {'; '.join(outcome.messages)}", err=True)
    return done_of(units, units[0].study.out)


def under_kills(
    task: Task, folder: Path, serial: Mapping[UnitKey, ResultLine], kills: tuple[Crew, int, int]
) -> dict[str, Any]:
    """The scans with killed workers compared with those of one process. kills: the crew, the number, and the seed."""
    crew, count, seed = kills
    units, began = task.units(folder), time.perf_counter()
    pace = statistics.mean(line.seconds for line in serial.values())
    with crew() as (workers, at_work), killing(units[0].study.out, at_work, _times(len(units), count, seed, pace)) as k:
        lines = scanned(units, workers)
    same = [key for key, line in lines.items() if all(_of(line, name) == _of(serial[key], name) for name in COMPARED)]
    charged = charges(units[0].study.ledgers)
    paid = [
        line for line in lines.values() if charged.get((line.model_hash, line.config_of_run["seed"])) == [line.queries]
    ]
    counts = {"scans": len(units), "kills": len(k), "lines": len(lines), "equal": len(same), "charged_once": len(paid)}
    wrong = {"differ": len(units) - len(same), "charged_otherwise": len(units) - len(paid)}
    return counts | wrong | {"seconds": round(time.perf_counter() - began, 1)}


def _of(line: ResultLine, name: str) -> Any:
    return getattr(line, name)


def charges(ledgers: Path) -> dict[tuple[str, int], list[int]]:
    """The queries charged to each run, by model and seed: the sum over its calls."""
    totals: dict[tuple[str, int], list[int]] = {}
    for path in sorted(ledgers.glob("*.db")):
        with closing(sqlite3.connect(path)) as ledger:
            runs = "SELECT r.model_hash, r.seed, coalesce(sum(c.charged), 0)"
            for model, seed, charged in ledger.execute(
                f"{runs} FROM runs AS r LEFT JOIN calls AS c ON c.run_id = r.id GROUP BY r.id"
            ):
                totals.setdefault((model, seed), []).append(charged)
    return totals


@dataclass(frozen=True)
class Kill:
    """A kill after `done` scans and `seconds` more. who: which of the busy workers, as a share in [0, 1)."""

    done: int
    seconds: float
    who: float


def _times(scans: int, kills: int, seed: int, pace: float) -> list[Kill]:
    """The kills, the same for every crew, none during the last scans. pace: seconds of a scan."""
    rng = stream(seed, "benchmark", "kills")
    done = np.sort(rng.integers(0, max(1, scans - 3), kills))
    return [Kill(int(n), float(pace * rng.random()), float(rng.random())) for n in done]


@contextmanager
def killing(results: Path, at_work: AtWork, kills: Sequence[Kill]) -> Iterator[list[int]]:
    """Kill workers in a thread; the list gets the id of each killed process."""
    over, dead = threading.Event(), list[int]()

    def run() -> None:
        for kill in kills:
            while not over.is_set() and (_count(results) < kill.done or not at_work()):
                time.sleep(_LOOK_SECONDS)
            if over.wait(kill.seconds):
                return
            while not over.is_set() and not _killed(at_work(), kill.who, dead):
                time.sleep(_LOOK_SECONDS)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield dead
    finally:
        over.set()
        thread.join()


def _killed(busy: Sequence[int], who: float, dead: list[int]) -> bool:
    """Whether a worker was killed."""
    if not busy:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid := sorted(busy)[int(who * len(busy))], signal.SIGKILL)
        dead.append(pid)
        return True
    return False


def _count(results: Path) -> int:
    return results.read_bytes().count(b"\n") if results.exists() else 0


@contextmanager
def two_processes() -> Iterator[tuple[Workers, AtWork]]:
    yield Workers(2), lambda: [child.pid for child in multiprocessing.active_children() if child.pid is not None]


@contextmanager
def two_of_dask() -> Iterator[tuple[Workers, AtWork]]:
    """A cluster on this machine, like `dask scheduler` with two `dask worker --nthreads 1`."""
    import dask
    from distributed import LocalCluster

    cluster_of: Any = LocalCluster
    quiet = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    settings = {
        "distributed.scheduler.allowed-failures": 1_000,  # all failures are our kills
        "distributed.deploy.lost-worker-timeout": "1 day",  # by default a worker killed twice within 15 s is dismissed
    }
    with dask.config.set(settings), cluster_of(**quiet, preload="studies.study.workers") as cluster:

        def at_work() -> list[int]:
            states = dict(cluster.scheduler.workers)
            nannies = [n for n in cluster.workers.values() if n.worker_address in states and n.pid is not None]
            return [nanny.pid for nanny in nannies if states[nanny.worker_address].processing]

        yield Workers(executor=DASK + cluster.scheduler_address.removeprefix("tcp://")), at_work


CREWS: Mapping[str, Crew] = {"processes": two_processes, "dask": two_of_dask}
"""The crews whose workers are killed, by name."""


if __name__ == "__main__":
    run(main, __doc__)
