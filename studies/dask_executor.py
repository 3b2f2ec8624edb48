"""A Dask cluster as an executor; nothing else imports dask."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from simkit.errors import ConfigError

_PATIENCE = 30.0
"""Seconds that scheduler and first worker are given to answer."""


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The cluster whose scheduler listens at `address`, HOST:PORT; an exception in the body cancels what waits there.

    What a worker is at when the body ends goes on. Raises ConfigError in one line: without dask, a scheduler, a worker,
    or with a worker of several threads, since a scan has its process for itself.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("the executor dask:// needs Dask: pip install 'b3d-simkit[dask]'") from error
    with _silent(), _connected(Client, address) as client:
        _check(client, address)
        pool: Executor = client.get_executor(pure=False)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False)
            raise


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
