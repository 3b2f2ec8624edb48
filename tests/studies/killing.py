"""A scan by command in a process of its own, which kills itself at some moment."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

CONTEXT = get_context("forkserver")
"""Imports once and then forks: a kill costs milliseconds."""

CONTEXT.set_forkserver_preload(["tests.studies.killing", "studies.scan", "sklearn.datasets", "safetensors.torch"])


def scan_and_die(args: list[str], seconds: float) -> None:
    """Run `simkit scan ARGS` and die `seconds` after its first query, by SIGKILL."""
    import torch

    import db.writer
    from oracles.torch_model import TorchOracle
    from studies.cli import main

    torch.set_num_threads(1)
    db.writer.FLUSH_SECONDS = 0.005  # so that many kills fall beside a commit
    query, begun = TorchOracle.query, threading.Event()

    def watched(self: TorchOracle, images: torch.Tensor, tag: object = None) -> object:
        if not begun.is_set():
            begun.set()
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return query(self, images, None)

    setattr(TorchOracle, "query", watched)  # noqa: B010 (mypy)
    main(["scan", *args])
    os._exit(0)  # without waiting for the timer


def killed(args: list[str], seconds: float) -> bool:
    """Whether the scan was killed, rather than over before."""
    process: BaseProcess = CONTEXT.Process(target=scan_and_die, args=(args, seconds))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0
