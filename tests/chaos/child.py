"""A scan by command in a process of its own, in which something goes wrong; it leaves word of what it asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.chaos.faults import Fault

CONTEXT = get_context("forkserver")
"""Imports once and then forks: a process costs milliseconds."""

CONTEXT.set_forkserver_preload(
    [
        "tests.chaos.child",
        "tests.chaos.faults",
        "studies.cli.scan",
        "studies.scan.run",
        "studies.cli.main",
    ]
)

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended. code: its exit code, KILLED after SIGKILL. message: stderr. asked: images per started call;
    kept: images of each call whose recording was confirmed."""

    code: int
    message: str
    asked: list[int]
    kept: list[int]


def run(command: list[str], fault: Fault, notes: Path) -> Ended:
    """Run `simkit COMMAND` with `fault` in a child. notes: a path that no earlier child used."""
    process: BaseProcess = CONTEXT.Process(target=_child, args=(command, fault, notes))
    process.start()
    process.join()
    assert process.exitcode is not None
    lines = notes.read_text().split("\n") if notes.exists() else []
    asked, kept = ([int(line[1:]) for line in lines if line[:1] == mark] for mark in "+=")
    message = notes.with_suffix(".stderr")
    return Ended(process.exitcode, message.read_text() if message.exists() else "", asked, kept)


def _child(command: list[str], fault: Fault, notes: Path) -> None:
    import torch

    from studies.cli.main import main

    torch.set_num_threads(1)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(os.open(notes.with_suffix(f".std{'out' if number == 1 else 'err'}"), os.O_WRONLY | os.O_CREAT), number)
    _watch(notes)
    fault.put()
    code = main(command)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without waiting for timers


def _watch(notes: Path) -> None:
    """A line in `notes` for every call that is begun (+) and for every one that was acknowledged as recorded (=)."""
    from db.run import Run
    from oracles.torch_model import TorchOracle

    log = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    query, record = TorchOracle.query, Run.record

    def watched(self: TorchOracle, images: object, tag: object = None) -> object:
        os.write(log, f"+{len(images)}\n".encode())  # type: ignore[arg-type]
        return query(self, images, None)  # type: ignore[arg-type]

    def recorded(self: Run, call: object) -> None:
        record(self, call)  # type: ignore[arg-type]
        os.write(log, f"={len(call.rows)}\n".encode())  # type: ignore[attr-defined]

    setattr(TorchOracle, "query", watched)  # noqa: B010 (mypy)
    setattr(Run, "record", recorded)  # noqa: B010 (mypy)


def start(shim: Path | None) -> None:
    """Start the process that children are forked from, with the shim preloaded where there is one."""
    from multiprocessing.forkserver import ensure_running

    if shim is not None:
        os.environ["LD_PRELOAD"] = str(shim)
    ensure_running()
    os.environ.pop("LD_PRELOAD", None)


def build_shim(folder: Path) -> Path | None:
    """The compiled shim; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    built, source = folder / "shim.so", Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True)
    return built
