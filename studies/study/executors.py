"""Where units of work run: processes of this machine, or a Dask cluster, behind `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from db.errors import StorageError
from oracles.errors import OracleError
from simkit.children import children
from simkit.errors import ConfigError, SimkitError

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
class Pool:
    """What runs functions of modules. check: to be called every few seconds; raises ConfigError where
    nobody has worked for a while.
    """

    executor: Executor
    check: Callable[[], None]


@contextmanager
def worker_pool(workers: Workers, preload: str) -> Iterator[Pool]:
    """Those who work; an exception in the body ends what they are at, as far as it can.

    preload: the module of the functions that they will run, which a server that forks processes imports once. A future
    raises BrokenProcessPool where its process died. Raises ConfigError for an executor that there is not, or that does
    not answer.
    """
    if workers.executor.startswith(DASK):
        with cluster(workers.executor.removeprefix(DASK)) as (pool, check):
            yield Pool(pool, check)
    elif workers.executor == PROCESSES:
        context = multiprocessing.get_context("forkserver")  # a fork of this process would have threads of torch in it
        context.set_forkserver_preload([preload])  # torch is imported once, not once a worker
        with children(workers.processes, context, workers.threads) as pool:
            yield Pool(pool, lambda: None)  # a process that dies has another one in its place
    else:
        raise ConfigError(f"no executor {workers.executor!r}; write {PROCESSES}, or {DASK}HOST:PORT")


_PATIENCE = 30.0
"""Seconds that scheduler and first worker are given to answer."""

_BEREFT = 60.0
"""Seconds that a cluster may be without any worker: one that dies is started again within some."""

GONE = "the scheduler of the Dask cluster went away; start it again, and the same command goes on"


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """The cluster whose scheduler listens at `address`, HOST:PORT; an exception in the body cancels what waits there.

    The function beside it is to be called every few seconds: it raises ConfigError where no worker has been there for a
    minute, or no scheduler answers. What a worker is at when the body ends goes on. Raises ConfigError in one line:
    without dask, a scheduler, a worker, or with a worker of several threads, since a scan has its process for itself.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("the executor dask:// needs Dask: pip install 'b3d-simkit[dask]'") from error
    with _silent(), _connected(Client, address) as client:
        _check(client, address)
        pool: Executor = client.get_executor(pure=False)
        try:
            yield pool, Watch(client, address)
        except BaseException:
            pool.shutdown(wait=False)
            raise


class Watch:
    """Knows when a cluster was last seen with a worker; to be called every few seconds."""

    def __init__(self, client: Any, address: str, now: Callable[[], float] = time.monotonic) -> None:
        self._client, self._address, self._now, self._seen = client, address, now, now()

    def __call__(self) -> None:
        try:
            there = bool(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise ConfigError(f"dask://{self._address}: {GONE}") from error
        if there:
            self._seen = self._now()
        elif self._now() - self._seen > _BEREFT:
            raise ConfigError(
                f"dask://{self._address}: no worker is left; start some, dask worker {self._address} --nthreads 1, and"
                " the same command goes on"
            )


@contextmanager
def _silent() -> Iterator[None]:
    """Without what Dask logs of its connections, tracebacks among it: what matters is raised."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    talking = [logger for logger in loggers if not logger.disabled]
    try:
        for logger in talking:
            logger.disabled = True
        yield
    finally:
        for logger in talking:
            logger.disabled = False


def _connected(client: Any, address: str) -> Any:
    try:
        return client(f"tcp://{address}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"dask://{address}: no scheduler answers there; start one, dask scheduler") from error


def _check(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise ConfigError(f"dask://{address}: no worker; start some, dask worker {address} --nthreads 1") from error
    if any(threads > 1 for threads in client.nthreads().values()):
        raise ConfigError(f"dask://{address}: a worker has several threads; start each with --nthreads 1")


def error_in_one_line(error: Exception) -> str:
    """An error in one line; of one that nobody foresaw, its kind too, and where it was if SIMKIT_DEBUG is set."""
    if os.environ.get("SIMKIT_DEBUG"):
        traceback.print_exception(error)
    said = " ".join(str(error).split())
    foreseen = isinstance(error, SimkitError | OracleError | StorageError)
    return said if foreseen else f"unexpected {type(error).__name__}: {said} (a bug: SIMKIT_DEBUG=1 shows where)"
