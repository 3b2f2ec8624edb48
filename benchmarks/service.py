"""Images per second of processor time through `simkit serve`, as a share of the metered, recorded oracle in process.

    python benchmarks/service.py --turns 5 --out results/service.jsonl

Both sides answer the same images of 3 x 32 x 32 on the same model and write a ledger. They take turns of one second, so
that other load on the machine meets both. The server is a process of its own; its processor time counts, not that of
its callers, which send binary tensors over kept connections of http.client.

    python benchmarks/service.py --images 1000000 --out results/service_memory.jsonl

asks the server of the linear model alone, and gives its resident memory after each tenth of the images.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from db import reads
from db.ledger import Ledger
from db.records import RunInfo
from oracles.budget import Budget
from oracles.oracle import ImageShape, Oracle
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle
from oracles.torch_options import TorchOptions
from oracles.wire.contract import HttpRequest, Interface
from oracles.wire.registry import wire
from simkit.files import make_folder
from simkit.zoo import networks
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.run_key import environment
from studies.service.keys import new_key

SHAPE = (3, 32, 32)
CASES = ((1, 8), (16, 8), (128, 8))
"""Images a call, and connections."""


def linear(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """A model that costs next to nothing, so that all else shows."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), n_classes))


MODELS: dict[str, Callable[[ImageShape, int], nn.Module]] = {"conv4": networks.conv4, "linear": linear}
"""Their weights are drawn."""

COLUMNS = ("model", "batch", "connections", "in_process", "served", "share")
MEMORY = ("charged", "rss_mb", "growth_mb")


def made(name: str) -> Oracle:
    """The oracle of a model; the same weights in each process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return TorchOracle(MODELS[name](SHAPE, 10).eval(), SHAPE, TorchOptions(), 10)


def __getattr__(name: str) -> Oracle:
    """`python:benchmarks.service:conv4_oracle`, for the server."""
    if name.endswith("_oracle"):
        return made(name.removesuffix("_oracle"))
    raise AttributeError(name)


@dataclass(frozen=True)
class Server:
    """A server. process: the id of its first process. key: of its caller, if one is needed."""

    port: int
    process: int
    key: str = ""

    def seconds(self) -> float:
        """Processor time so far, of its first process and of all that it started, whose sessions may be others."""
        fields = {int(text.split()[0]): text.rpartition(")")[2].split() for text in _stats()}
        own = {self.process}
        while more := {one for one, each in fields.items() if int(each[1]) in own} - own:
            own |= more
        return sum(int(fields[one][11]) + int(fields[one][12]) for one in own) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Resident memory of its first process in MB."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stats() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            yield path.read_text()


@contextmanager
def server(name: str, folder: Path) -> Iterator[Server]:
    """A service with the model in a process of its own."""
    key = new_key(folder / "keys.toml", {"name": "benchmark"}).text
    command = [sys.executable, "-m", "studies.cli.entry", "serve", f"python:benchmarks.service:{name}_oracle"]
    command += ["--name", name, "--port", "0", "--keys", "keys.toml", "--db", "served.db"]
    root = str(Path(__file__).resolve().parent.parent)
    started = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=folder, env=started, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+);", process.stdout.readline())
        assert found, "the service did not start"
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Server(int(found[1]), process.pid, key)
    finally:
        process.terminate()
        process.wait()


def served(found: Server, request: HttpRequest, connections: int, seconds: float) -> tuple[int, float]:
    """Calls answered in so many seconds, and the processor time that the server took for them."""
    counts, until, before = [0] * connections, time.monotonic() + seconds, found.seconds()

    def call(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", found.port)
        while time.monotonic() < until:
            connection.request("POST", request.target, request.body, dict(request.headers))
            reply = connection.getresponse()
            body = reply.read()
            assert reply.status == 200, body
            counts[place] += 1
        connection.close()

    threads = [threading.Thread(target=call, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), found.seconds() - before


def asked(oracle: Oracle, images: torch.Tensor, seconds: float) -> tuple[int, float]:
    """Calls answered in this process in so many seconds, and its processor time."""
    count, until, before = 0, time.monotonic() + seconds, time.process_time()
    while time.monotonic() < until:
        oracle.query(images)
        count += 1
    return count, time.process_time() - before


def _row(name: str, batch: int, connections: int, turns: int, folder: Path) -> dict[str, Any]:
    images = np.random.default_rng(0).random((batch, *SHAPE), dtype=np.float32)
    with server(name, folder) as found, Ledger.open(folder / "here.db") as ledger:
        oracle = _recorded(name, ledger)
        about = Interface(name, SHAPE, tuple(map(str, range(10))))
        request = wire("oip").ask(images, about, found.key)
        tensor = torch.from_numpy(images)
        served(found, request, connections, 1.0)
        asked(oracle, tensor, 0.5)
        rates = []
        for _ in range(turns):
            outside, inside = served(found, request, connections, 1.0), asked(oracle, tensor, 1.0)
            rates.append(tuple(batch * calls / seconds for calls, seconds in (inside, outside)))
    here, there = (statistics.median(side) for side in zip(*rates, strict=True))
    share = statistics.median(outside / inside for inside, outside in rates)
    row = {"model": name, "batch": batch, "connections": connections, "turns": turns}
    return {**row, "in_process": round(here), "served": round(there), "share": round(share, 2)}


def _recorded(name: str, ledger: Ledger) -> Oracle:
    """The metered and recorded stack of the scans on a run of the ledger."""
    about = {"key": "a" * 64, "model": name, "model_hash": "", "data": "noise", "data_hash": "", "oracle": "{}"}
    begun = ledger.begin(RunInfo(**about, config="{}", seed=0, budget=None, environment="{}"))
    return build(OracleSpec(), made(name), Budget(None), recorder=begun)


def memory(images: int, folder: Path) -> dict[str, Any]:
    """The server's resident memory in MB after each tenth of the images (rounded up to whole calls of 128).

    growth_mb: over all tenths but the first, in which buffers and caches fill.
    """
    batch, connections, parts = 128, 8, 10
    pixels = np.random.default_rng(0).random((batch, *SHAPE), dtype=np.float32)
    calls = -(-images // (batch * connections * parts))
    sizes = []
    with server("linear", folder) as found:
        request = wire("oip").ask(pixels, Interface("linear", SHAPE, tuple(map(str, range(10)))), found.key)
        for _ in range(parts):
            with ThreadPoolExecutor(connections) as callers:
                list(callers.map(lambda _: ask(found.port, request, calls), range(connections)))
            sizes.append(round(found.resident(), 1))
    charged = int(reads.spend(folder / "served.db")["charged"].sum())
    assert charged == parts * connections * calls * batch, "the ledger has another number of queries"
    row: dict[str, Any] = {"model": "linear", "batch": batch, "connections": connections, "charged": charged}
    return {**row, "rss_mb": sizes, "growth_mb": round(sizes[-1] - sizes[0], 1)}


def ask(port: int, request: HttpRequest, calls: int) -> None:
    """Send a request so many times over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(calls):
        connection.request("POST", request.target, request.body, dict(request.headers))
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 200, body
    connection.close()


def speed(turns: int) -> list[dict[str, Any]]:
    """A row for each model and number of images a call."""
    rows = []
    for name in MODELS:
        for batch, connections in CASES:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(_row(name, batch, connections, turns, Path(folder)))
    return rows


def main(
    turns: Annotated[int, typer.Option(min=1, help="Seconds that each side gets for each row, in turns.")] = 5,
    images: Annotated[int | None, typer.Option(min=1, help="Measure memory instead, over so many images.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per row.")] = None,
) -> None:
    if images is None:
        rows = speed(turns)
    else:
        with tempfile.TemporaryDirectory() as folder:
            rows = [memory(images, Path(folder))]
    print_table(rows, COLUMNS if images is None else MEMORY)
    if out is not None:
        write(rows, out)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Append the rows to a .jsonl file, with what the machine was."""
    load = round(os.getloadavg()[0], 1)
    make_folder(out.parent)
    with out.open("a", encoding="utf-8") as stream:
        lines = ({**row, "cores": os.cpu_count(), "load": load, "environment": environment()} for row in rows)
        stream.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    run(main, __doc__)
