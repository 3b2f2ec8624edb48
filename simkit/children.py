"""Child processes that work for a command: Ctrl-C is the command's affair alone, and none of them outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_T = TypeVar("_T")
_INTERRUPT = frozenset({signal.SIGINT})


@contextmanager
def children(workers: int, context: BaseContext, threads: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes in this one's folder; waited for at the end, but terminated where an exception ends the body.

    context: how they are started, `spawn` or `forkserver`. threads: of torch in each.
    """
    before = set(multiprocessing.active_children())
    pool = _Pool(workers, context, _begin, (threads, Path.cwd()))
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    """Starts its processes, which it does in `submit`, with Ctrl-C held back until `_begin`.

    A terminal interrupts all processes at once, and one that is still importing would tell of it by a traceback. This
    process is interrupted when the child, or the server that forks it, has been told everything: one cut off would
    complain, too. A fork server imports torch first, so that this may take seconds, once.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, folder: Path) -> None:
    """In a child, first."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPT)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Waits for the command's death, also by a kill that lets it tell nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
