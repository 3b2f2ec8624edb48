"""Where units of work run: processes of this machine, or a Dask cluster, behind `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from simkit.children import children
from simkit.errors import ConfigError

PROCESSES, DASK = "processes", "dask://"


@dataclass(frozen=True)
class Workers:
    """Who works.

    processes: at once, on this machine; a Dask cluster has its own number. threads: of torch in each, part of what a
    run is known by. executor: `processes`, or `dask://HOST:PORT`, where the scheduler of a Dask cluster listens.
    """

    processes: int = 1
    threads: int = 1
    executor: str = PROCESSES

    @property
    def here(self) -> bool:
        """Whether this process does all of the work."""
        return self.executor == PROCESSES and self.processes == 1

    @property
    def elsewhere(self) -> bool:
        """Whether workers may stand in other folders than this process, or on other machines."""
        return self.executor != PROCESSES


@dataclass(frozen=True)
class Crew:
    """What runs functions of modules. check: to be called every few seconds; raises ConfigError where
    nobody has worked for a while.
    """

    executor: Executor
    check: Callable[[], None]


@contextmanager
def crew(workers: Workers, preload: str) -> Iterator[Crew]:
    """Those who work; an exception in the body ends what they are at, as far as it can.

    preload: the module of the functions that they will run, which a server that forks processes imports once. A future
    raises BrokenProcessPool where its process died. Raises ConfigError for an executor that there is not, or that does
    not answer.
    """
    if workers.executor.startswith(DASK):
        from studies.dask_executor import cluster

        with cluster(workers.executor.removeprefix(DASK)) as (pool, check):
            yield Crew(pool, check)
    elif workers.executor == PROCESSES:
        context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
        context.set_forkserver_preload([preload])  # torch is imported once, not once a worker
        with children(workers.processes, context, workers.threads) as pool:
            yield Crew(pool, lambda: None)  # a process that dies has another one in its place
    else:
        raise ConfigError(f"no executor {workers.executor!r}; write {PROCESSES}, or {DASK}HOST:PORT")
