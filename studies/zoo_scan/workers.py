"""Processes that scan: each unit goes to one of them, and none of them outlives the command."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch

from simkit.children import children
from studies.zoo_scan.unit import Outcome, Unit, scan_unit

_DIED = "its process died, for example for want of memory; the same command goes on, with fewer --workers"


def work_through(units: Sequence[Unit], workers: int, threads: int) -> Generator[Outcome, None, None]:
    """The outcome of every unit, as they come. threads: of torch in each process; part of every run's key.

    One worker is this process. Otherwise an interrupt, or an end before the last outcome, ends the workers where they
    are: their ledgers keep what was asked.
    """
    if workers == 1:
        torch.set_num_threads(threads)
        yield from map(scan_unit, units)
        return
    context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
    context.set_forkserver_preload([__name__])  # torch is imported once, not once a worker
    with children(min(workers, len(units) or 1), context, threads) as pool:
        futures = {pool.submit(scan_unit, unit): unit for unit in units}
        for future in as_completed(futures):
            yield _outcome(future, futures[future])


def _outcome(future: Future[Outcome], unit: Unit) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(unit, "failed", said=(_DIED,))
