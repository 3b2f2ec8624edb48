"""A scan by command in a process of its own, which kills itself at some moment and leaves word of what it asked."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = get_context("forkserver")
"""Imports once and then forks: a kill costs milliseconds."""

CONTEXT.set_forkserver_preload(
    [
        *("tests.studies.killing", "studies.commands.scan", "studies.scan", "studies.cli"),
        *("sklearn.datasets", "sklearn.model_selection", "safetensors.torch", "torch._dynamo"),  # torch.optim needs it
    ]
)


def scan_and_die(args: list[str], seconds: float, asked: Path) -> None:
    """Run `simkit scan ARGS` and die `seconds` after its first query, by SIGKILL; a line in `asked` a call begun."""
    import torch

    from oracles.torch_model import TorchOracle
    from studies.cli import main

    torch.set_num_threads(1)
    query, begun = TorchOracle.query, threading.Event()
    log = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watched(self: TorchOracle, images: torch.Tensor, tag: object = None) -> object:
        if not begun.is_set():
            begun.set()
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        os.write(log, f"{len(images)}\n".encode())  # before the answer: a call that is cut off is in it
        return query(self, images, None)

    setattr(TorchOracle, "query", watched)  # noqa: B010 (mypy)
    main(["scan", *args])
    os._exit(0)  # without waiting for the timer


def killed(args: list[str], seconds: float, asked: Path) -> bool:
    """Whether the scan was killed, rather than over before."""
    process: BaseProcess = CONTEXT.Process(target=scan_and_die, args=(args, seconds, asked))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def images_asked(asked: Path) -> list[int]:
    """The images of each call that a process began, in order; none if it asked nothing."""
    return [int(line) for line in asked.read_text().splitlines()] if asked.exists() else []
