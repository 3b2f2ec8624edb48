"""Runs units of work in processes of this machine or on a Dask cluster, by `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
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
from simkit.children import children, fork_server
from simkit.errors import ConfigError, SimkitError

PROCESSES, DASK = "processes", "dask://"


@dataclass(frozen=True)
class Workers:
    """The processes that work.

    processes: number on this machine; a Dask cluster has its own. threads: torch threads per process, which are part of
    the run key. executor: `processes`, or `dask://HOST:PORT` for the scheduler of a Dask cluster.
    Raises ConfigError for another executor.
    """

    processes: int = 1
    threads: int = 1
    executor: str = PROCESSES

    def __post_init__(self) -> None:
        if self.executor != PROCESSES and not self.executor.startswith(DASK):
            raise ConfigError(f"no executor {self.executor!r}; write {PROCESSES}, or {DASK}HOST:PORT")

    @property
    def here(self) -> bool:
        """Whether this process does all of the work."""
        return self.executor == PROCESSES and self.processes == 1

    @property
    def elsewhere(self) -> bool:
        """Whether workers may have other working folders than this process, or be on other machines."""
        return self.executor != PROCESSES


@dataclass(frozen=True)
class Pool:
    """An executor. check: must be called every few seconds; raises ConfigError after a while without workers."""

    executor: Executor
    check: Callable[[], None]


@contextmanager
def worker_pool(workers: Workers, preload: str) -> Iterator[Pool]:
    """A pool of workers; an exception in the body cancels their work where possible.

    preload: the module of the functions that they will run, which the fork server imports once. A future raises
    BrokenProcessPool if its process died. Raises ConfigError where a cluster does not answer.
    """
    if workers.executor.startswith(DASK):
        with cluster(workers.executor.removeprefix(DASK)) as (pool, check):
            yield Pool(pool, check)
    else:
        with children(workers.processes, fork_server(preload), workers.threads) as pool:
            yield Pool(pool, lambda: None)  # a process that dies is replaced


_PATIENCE = 30.0
"""Seconds within which the scheduler and a first worker must answer."""

_BEREFT = 60.0
"""Seconds that a cluster may have no worker, in which a dead one is normally restarted."""

GONE = "the scheduler of the Dask cluster went away; restart it and run the same command again"


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """The cluster whose scheduler listens at `address`, HOST:PORT; an exception in the body cancels queued work.

    The second value must be called every few seconds: it raises ConfigError where there was no worker for a minute, or
    no scheduler answers. Work that is running when the body ends is not stopped. Raises ConfigError without dask, a
    scheduler or a worker, and for a worker with several threads, since a scan needs a process of its own.
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
    """Watches that a cluster has workers; must be called every few seconds."""

    def __init__(self, client: Any, address: str, now: Callable[[], float] = time.monotonic) -> None:
        self._client, self._address, self._now, self._seen = client, address, now, now()

    def __call__(self) -> None:
        try:
            working = bool(self._client.nthreads())
        except (OSError, TimeoutError) as error:
            raise ConfigError(f"dask://{self._address}: {GONE}") from error
        if working:
            self._seen = self._now()
        elif self._now() - self._seen > _BEREFT:
            raise ConfigError(
                f"dask://{self._address}: no worker is left; start workers with `dask worker {self._address}"
                " --nthreads 1` and run the same command again"
            )


@contextmanager
def _silent() -> Iterator[None]:
    """Silence Dask's logs of its connections, including tracebacks; relevant errors are raised."""
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
        raise ConfigError(f"dask://{address}: no scheduler answers; start one with `dask scheduler`") from error


def _check(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        start = f"`dask worker {address} --nthreads 1`"
        raise ConfigError(f"dask://{address}: there is no worker; start workers with {start}") from error
    if any(threads > 1 for threads in client.nthreads().values()):
        raise ConfigError(f"dask://{address}: a worker has several threads; start each with --nthreads 1")


def error_in_one_line(error: Exception) -> str:
    """An error in one line; an unexpected one with its type, and with a traceback if SIMKIT_DEBUG is set."""
    if os.environ.get("SIMKIT_DEBUG"):
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    if isinstance(error, SimkitError | OracleError | StorageError):
        return message
    return f"unexpected {type(error).__name__}: {message} (this is a bug; SIMKIT_DEBUG=1 shows the traceback)"
