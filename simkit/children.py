"""Child processes that work for a command. Only the command handles Ctrl-C, and no child outlives it."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import torch

_P = ParamSpec("_P")
_T = TypeVar("_T")
_INTERRUPT = frozenset({signal.SIGINT})

_STARTING_SECONDS = 0.1
"""Seconds between two searches for a child process that was just being started."""


def fork_server(module: str) -> BaseContext:
    """How processes are forked from one that has imported `module`, and torch with it: once instead of once for each.

    Forking this process instead would copy torch's threads.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


@contextmanager
def children(workers: int, context: BaseContext, threads: int) -> Iterator[Executor]:
    """An executor of processes in the current folder, each with one task at a time.

    At the end the processes are waited for; if an exception ends the body, they are terminated. If a process dies, only
    the future of its own task raises BrokenProcessPool, and another process takes its place. context: how processes are
    started, `spawn` or `forkserver`. threads: torch threads per process.
    """
    crew = _Crew(workers, lambda: _Pool(1, context, _begin, (threads, Path.cwd())))
    try:
        yield crew
    except BaseException:
        crew.terminate()
        raise
    finally:
        crew.shutdown(cancel_futures=True)


class _Crew(Executor):
    """Pools of one process each, which shows whose task a dead process was working on. One thread waits for each."""

    def __init__(self, workers: int, pool: Callable[[], ProcessPoolExecutor]) -> None:
        self._before = set(multiprocessing.active_children())
        self._new_pool = pool
        self._pools: list[ProcessPoolExecutor] = []
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(workers)
        self._under_way: set[Future[Any]] = set()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future = self._threads.submit(self._in_child, functools.partial(fn, *args, **kwargs))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def _in_child(self, task: Callable[[], _T]) -> _T:
        try:
            future = self._pool().submit(task)
        except BrokenProcessPool:  # the process died between two tasks, and none was lost
            self._own.pool = None
            future = self._pool().submit(task)
        try:
            return future.result()
        except BrokenProcessPool:
            self._own.pool = None
            raise

    def _pool(self) -> ProcessPoolExecutor:
        """The pool of this thread."""
        if getattr(self._own, "pool", None) is None:
            self._own.pool = self._new_pool()
            self._pools.append(self._own.pool)
        return cast(ProcessPoolExecutor, self._own.pool)

    def terminate(self) -> None:
        """Terminate every process, including one that a thread is just starting."""
        self.shutdown(wait=False, cancel_futures=True)
        while True:
            for child in set(multiprocessing.active_children()) - self._before:
                child.terminate()
            if not wait(set(self._under_way), timeout=_STARTING_SECONDS).not_done:
                return

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._pools if wait else ():
            pool.shutdown()


class _Pool(ProcessPoolExecutor):
    """A pool whose processes start (in `submit`) with Ctrl-C blocked until `_begin` has run.

    A terminal interrupts all processes at once, and a child that is still importing would print a traceback. Ctrl-C is
    blocked in this process too until the child, or the server that forks it, has received everything, since it would
    otherwise fail with a traceback as well. A fork server imports torch first, so this may take seconds, once.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, folder: Path) -> None:
    """The first function that runs in a child."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the command ends, even if it was killed, and end this process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_any([parent.sentinel])
    os._exit(1)
