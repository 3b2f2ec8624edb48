"""Units given to workers: each is done once, also where workers die, and none of them outlives the command."""

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
"""Processes that may die at one unit, before it is told as failed."""

_PATIENCE = 5.0
"""Seconds until a dead worker's ledger is free at the latest; the system closes its files one by one."""

_DIED = (
    f"{TRIES} processes died at it, for example for want of memory; the same command tries it again, with fewer "
    "--workers if need be"
)

_LOOK_SECONDS = 5.0
"""How often at least it is asked whether anybody works."""


def work_through(units: Sequence[Unit], workers: Workers) -> Generator[Outcome, None, None]:
    """The outcome of every unit, as they come; a dead worker's unit goes on in another one, from where its ledger ends.

    One process is this one. Otherwise an interrupt, or an end before the last outcome, ends the processes where they
    are: their ledgers keep what was asked. Raises ConfigError as `worker_pool` does, and where a cluster, or all of
    its workers, go away.
    """
    if workers.here:
        torch.set_num_threads(workers.threads)
        yield from map(scan_unit, units)
    elif units:
        with worker_pool(workers, __name__) as at_work:
            yield from _gathered(at_work, units, workers)


def scan_in_worker(unit: Unit, threads: int, patience: float) -> Outcome:
    """`scan_unit` with as many torch threads. patience: seconds to wait for a ledger that another process has."""
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
        after_death = workers.elsewhere or unit.key in deaths  # a cluster does not say of whom it has a unit back
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
        yield outcome or Outcome(unit, "failed", said=(_DIED,))


def _outcome(future: Future[Outcome], unit: Unit) -> Outcome | None:
    """None where the process died."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None
    except CancelledError:
        raise ConfigError(GONE) from None
    except Exception as error:  # of a cluster: too many workers died at it, or they have other code
        said = " ".join(str(error).split()) or "its result was lost"
        return Outcome(unit, "failed", said=(f"{type(error).__name__}: {said}",))
