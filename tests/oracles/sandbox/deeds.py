"""What a hostile model would do, run in the child: imported there in place of the readers that refuse such files."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from oracles.model_files import kinds
from oracles.model_files.kinds import Graph

LIBC = ctypes.CDLL(None, use_errno=True)


def _system_call(number: int, *values: int) -> None:
    """One that Python has no function for, by its number on x86-64."""
    if LIBC.syscall(number, *values) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def deeds(folder: Path, parent: int) -> dict[str, Callable[[], object]]:
    """Each must raise OSError, and leave the folder and the parent as they are."""
    kept = folder / "kept"
    return {
        "write": lambda: kept.write_text("written"),
        "append": lambda: os.open(kept, os.O_WRONLY | os.O_APPEND),
        "create": lambda: (folder / "new").touch(),
        "read": lambda: Path("/etc/passwd").read_text(),
        "read itself": lambda: Path("/proc/self/environ").read_bytes(),
        "list": lambda: os.listdir(folder),
        "stat": lambda: os.stat(kept),
        "remove": lambda: kept.unlink(),
        "rename": lambda: kept.rename(folder / "other"),
        "truncate": lambda: os.truncate(kept, 0),
        "chmod": lambda: kept.chmod(0o777),
        "link": lambda: os.link(kept, folder / "linked"),
        "symlink": lambda: os.symlink(kept, folder / "linked"),
        "folder": lambda: (folder / "folder").mkdir(),
        "pipe": lambda: os.mkfifo(folder / "pipe"),
        "tcp": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        "unix socket": lambda: socket.socket(socket.AF_UNIX).connect("\0simkit"),
        "fork": os.fork,
        "start": lambda: subprocess.Popen(["/bin/true"]),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "signal the parent": lambda: os.kill(parent, 0),
        "signal its group": lambda: os.killpg(os.getpgid(parent), 0),
        "signal all": lambda: os.kill(-1, 0),
        "memory as a file": lambda: os.memfd_create("x"),
        "raise a limit": lambda: __import__("resource").setrlimit(1, (10**9, 10**9)),
        "trace the parent": lambda: _system_call(101, 16, parent, 0, 0),
        "read the parent": lambda: _system_call(310, parent, 0, 0, 0, 0, 0),
        "io_uring": lambda: _system_call(425, 8, 0),
        "new namespace": lambda: _system_call(272, 0x10000000),
        "open by handle": lambda: _system_call(304, -100, 0, 0),
        "bpf": lambda: _system_call(321, 0, 0, 0),
        "load a library": lambda: ctypes.CDLL(str(folder / "x.so")),
    }


class Doer(nn.Module):
    """Does one deed for each call: the image says which. Answers 1 if it was refused, 0 if it was not."""

    thread_safe = True

    def __init__(self, folder: Path, parent: int) -> None:
        super().__init__()
        self._deeds = list(deeds(folder, parent).values())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) == 0:
            return torch.zeros(0, 2)
        number = int(images.reshape(-1)[0])
        if number < 0:
            return self._end(number)
        try:
            self._deeds[number]()
        except (OSError, ValueError, LookupError):  # what Python makes of EPERM for a limit, and for an encoding
            return torch.tensor([[1.0, 0.0]])
        return torch.tensor([[0.0, 1.0]])

    def _end(self, number: int) -> torch.Tensor:
        if number == -1:
            ctypes.string_at(8)
        if number == -2:
            os.abort()
        if number == -3:
            os._exit(7)
        held = []
        while True:
            held.append(torch.ones(2**24))


def _doer(path: Path, data: bytes) -> Graph:
    folder, parent = data.decode().split("\n")
    return Graph(Doer(Path(folder), int(parent)))


def _unchecked(path: Path, data: bytes) -> Graph:
    """TorchScript that no list of operators was asked about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Graph(torch.jit.load(io.BytesIO(data)))  # type: ignore[no-untyped-call]


kinds.READERS = {**kinds.READERS, "exported": _doer, "torchscript": _unchecked}
