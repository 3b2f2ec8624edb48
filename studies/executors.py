"""Where units of work run: processes of this machine, or a Dask cluster, behind `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
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


@contextmanager
def executor(workers: Workers, preload: str) -> Iterator[Executor]:
    """What runs functions of modules; an exception in the body ends what it runs, as far as it can.

    preload: the module of those functions, which a server that forks processes imports once. A future raises
    BrokenProcessPool where its process died. Raises ConfigError for an executor that there is not, or that does not
    answer.
    """
    if workers.executor.startswith(DASK):
        from studies.dask_executor import cluster

        with cluster(workers.executor.removeprefix(DASK)) as pool:
            yield pool
    elif workers.executor == PROCESSES:
        context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
        context.set_forkserver_preload([preload])  # torch is imported once, not once a worker
        with children(workers.processes, context, workers.threads) as pool:
            yield pool
    else:
        raise ConfigError(f"no executor {workers.executor!r}; write {PROCESSES}, or {DASK}HOST:PORT")
