"""Victims made by several processes at once; which ones, and what they are, does not depend on how many."""

from __future__ import annotations

import functools
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeAlias

import torch

from simkit.errors import ConfigError
from simkit.zoo.manifest import Victim
from simkit.zoo.spec import ZooSpec
from simkit.zoo.workshop import Workshop

ToMake: TypeAlias = Callable[[], tuple[int, ...]]
"""The indices that are still to be made; asked again after each victim."""


def made_by_processes(workshop: Workshop, to_make: ToMake, workers: int) -> Iterator[Victim]:
    """Victims as they are finished. Each process has as many torch threads as this one, and reads the images itself.

    Raises what making one raises, and ConfigError where a process died.
    """
    begun = functools.partial(_begin, torch.get_num_threads())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begun)
    running: dict[Future[Victim], int] = {}
    try:
        while True:
            for index in [i for i in to_make() if i not in running.values()][: workers - len(running)]:
                running[pool.submit(_make, workshop.spec, workshop.out, index)] = index
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()
    except BrokenProcessPool as error:
        raise ConfigError("a process that made victims died; is there memory for so many workers?") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes of a terminal; only one need speak
    torch.set_num_threads(threads)


def _make(spec: ZooSpec, out: Path, index: int) -> Victim:
    return _workshop(spec.model_dump_json(), out).make(index)


@functools.cache
def _workshop(spec: str, out: Path) -> Workshop:
    """One a process: the images are read once."""
    return Workshop.open(ZooSpec.model_validate_json(spec), out)
