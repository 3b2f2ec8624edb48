"""Runs units in workers: each unit is done once, even if workers die, and no worker outlives the command."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue

import torch

from simkit.errors import ConfigError
from studies.study.executors import GONE, Pool, Workers, worker_pool
from studies.study.unit import Outcome, Unit, UnitKey, scan_unit

TRIES = 5
"""Number of processes that may die at one unit before it counts as failed."""

_PATIENCE = 5.0
"""Seconds within which a dead worker's ledger becomes free, as the system closes its files."""

_DIED = (
    f"{TRIES} processes died at it, perhaps out of memory; run the same command again, with fewer --workers if needed"
)

_LOOK_SECONDS = 5.0
"""Maximum seconds between two checks that there are workers."""


def work_through(units: Sequence[Unit], workers: Workers) -> Generator[Outcome, None, None]:
    """Yield the outcome of every unit as it ends; the unit of a dead worker is resumed in another one.

    A single process is this process. Otherwise an interrupt, or closing the generator early, ends the processes at
    once; their ledgers hold all queries so far. Raises ConfigError as `worker_pool` does, and where a cluster or all of
    its workers go away.
    """
    if workers.here:
        torch.set_num_threads(workers.threads)
        yield from map(scan_unit, units)
    elif units:
        with worker_pool(workers, __name__) as at_work:
            yield from _gathered(at_work, units, workers)


def scan_in_worker(unit: Unit, threads: int, patience: float) -> Outcome:
    """`scan_unit` with that many torch threads. patience: seconds to wait for a ledger that another process has."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    end = time.monotonic() + patience
    while (outcome := scan_unit(unit)).state == "busy" and time.monotonic() < end:
        time.sleep(patience / 50)
    return outcome


def _gathered(at_work: Pool, units: Sequence[Unit], workers: Workers) -> Generator[Outcome, None, None]:
    finished: SimpleQueue[tuple[Unit, Future[Outcome]]] = SimpleQueue()
    deaths: Counter[UnitKey] = Counter()

    def submit(unit: Unit) -> None:
        after_death = workers.elsewhere or unit.key in deaths  # a cluster does not report dead workers
        future = at_work.executor.submit(scan_in_worker, unit, workers.threads, _PATIENCE if after_death else 0.0)
        future.add_done_callback(lambda done: finished.put((unit, done)))

    for unit in units:
        submit(unit)
    left = len(units)
    while left:
        at_work.check()
        try:
            unit, future = finished.get(timeout=_LOOK_SECONDS)
        except Empty:
            continue
        outcome = _outcome(future, unit)
        if outcome is None:
            deaths[unit.key] += 1
            if deaths[unit.key] < TRIES:
                submit(unit)
                continue
        left -= 1
        yield outcome or Outcome(unit, "failed", messages=(_DIED,))


def _outcome(future: Future[Outcome], unit: Unit) -> Outcome | None:
    """The outcome of a unit; None where its process died."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None
    except CancelledError:
        raise ConfigError(GONE) from None
    except Exception as error:  # on a cluster, too many workers died at the unit, or they have other code
        message = " ".join(str(error).split()) or "its result was lost"
        return Outcome(unit, "failed", messages=(f"{type(error).__name__}: {message}",))
