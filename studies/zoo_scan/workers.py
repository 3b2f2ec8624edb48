"""Processes that scan: each unit goes to one of them, and none of them outlives the command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

import torch

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
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
    context.set_forkserver_preload([__name__])  # torch is imported once, not once a worker
    pool = ProcessPoolExecutor(min(workers, len(units) or 1), context, _begin, (threads, Path.cwd()))
    try:
        futures = {pool.submit(scan_unit, unit): unit for unit in units}
        for future in as_completed(futures):
            yield _outcome(future, futures[future])
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(future: Future[Outcome], unit: Unit) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(unit, "failed", said=(_DIED,))


def _begin(threads: int, folder: Path) -> None:
    """In a worker, first: where relative paths begin; Ctrl-C is the command's affair, and so is the worker's life."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Waits for the command's death, also by a kill that lets it tell nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
