"""Images per second of processor time through `simkit serve` and through model servers of others, of one small model.

    python -m benchmarks.service_others --python /usr/bin/python3.11 --turns 7 --out results/service.jsonl

A single product of 3 x 32 x 32 pixels, with the same weights behind each server, so that all else shows; simkit also
checks keys, charges, and writes its ledger. The servers take turns of one second, so that other load on the machine
meets all of them; processor time is that of a server's processes, not of its callers, which are those of
benchmarks/service.py. Triton takes binary tensors, LitServe their bytes as base64 in JSON, and MLServer numbers in
JSON, so that simkit is asked in JSON too. The other servers and their environments are those of
benchmarks/other_servers.py; one that cannot be started has `why` in its line.
"""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks import other_servers, service
from benchmarks.service import SHAPE, Server
from oracles.answers import FloatArray
from oracles.errors import ModelError
from oracles.wire.contract import HttpRequest, Interface
from oracles.wire.registry import wire
from studies.cli.output import print_table
from studies.cli.scripts import run

BATCH, CONNECTIONS, CLASSES = 16, 8, 10
OWN = ("binary", "json")
"""How simkit is asked."""

OTHERS = {"nvidia-pytriton": "binary", "litserve": "base64", "mlserver": "json"}
"""Other servers, and how they are asked."""

COLUMNS = ("server", "body", "batch", "connections", "served", "simkit_binary", "simkit_json")


@dataclass(frozen=True, eq=False)
class Rival:
    """A server that is asked in turns. body: `binary` or `json`."""

    name: str
    body: str
    server: Server
    request: HttpRequest


def main(
    turns: Annotated[int, typer.Option(min=1, help="Seconds that each server gets, in turns.")] = 5,
    python: Annotated[str, typer.Option(help="The interpreter of the environments.")] = sys.executable,
    environments: Annotated[Path | None, typer.Option(help="Keeps the environments here; removed by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per server.")] = None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="simkit-servers-") as name:
        folder = Path(name)
        rows = compared(folder, environments or folder / "environments", python, turns)
    print_table(rows, COLUMNS)
    if out is not None:
        service.write(rows, out)


def compared(folder: Path, environments: Path, python: str, turns: int) -> list[dict[str, Any]]:
    """A row for each server. simkit_binary, simkit_json: how many times as many images simkit answered, by its body."""
    images = np.random.default_rng(0).random((BATCH, *SHAPE), dtype=np.float32)
    about = Interface("linear", SHAPE, tuple(map(str, range(CLASSES))))
    model, missing = exported(folder / "linear.onnx"), []
    with ExitStack() as stack:
        own = stack.enter_context(service.server("linear", folder))
        rivals = [Rival("simkit", body, own, _question(images, about, body, own.key)) for body in OWN]
        for name, body in OTHERS.items():
            try:
                rivals.append(_other(stack, name, environments.absolute() / name, python, (model, images, body)))
            except (OSError, subprocess.CalledProcessError, ModelError) as error:
                missing.append({"server": name, "why": " ".join(str(error).split())[-300:]})
        return [*_rows(rivals, turns), *missing]


def exported(path: Path) -> Path:
    """The model of `simkit serve` as an ONNX file of probabilities."""
    torch.manual_seed(0)
    return other_servers.exported(service.linear(SHAPE, CLASSES), SHAPE, path)


def _question(images: FloatArray, about: Interface, body: str, key: str | None) -> HttpRequest:
    return wire("oip").ask(images, replace(about, places={**about.places, "data": body}), key)


def _other(stack: ExitStack, name: str, home: Path, python: str, asked: tuple[Path, FloatArray, str]) -> Rival:
    model, images, body = asked
    server = other_servers.SERVERS[name]
    versions = other_servers.installed(server, home, python)
    port, process = stack.enter_context(other_servers.serving(server, home, model))
    about = Interface("victim", SHAPE, tuple(map(str, range(CLASSES))), places={"output": "scores"})
    request = _question(images, about, body, None)
    if not server.protocol:
        data = base64.b64encode(images.tobytes()).decode()
        text = json.dumps({"base64": data, "shape": images.shape}).encode()
        request = HttpRequest("POST", "/predict", {"content-type": "application/json"}, text)
    return Rival(f"{name} {versions[name]}", body, Server(port, process), request)


def _rows(rivals: list[Rival], turns: int) -> list[dict[str, Any]]:
    for rival in rivals:
        service.served(rival.server, rival.request, CONNECTIONS, 1.0)  # so that all have started
    rates = [[_rate(rival) for rival in rivals] for _ in range(turns)]
    return [_row(rival, place, rates) for place, rival in enumerate(rivals)]


def _row(rival: Rival, place: int, rates: list[list[float]]) -> dict[str, Any]:
    """The first two places of each turn are simkit's, with binary bodies and with JSON."""
    row = {"server": rival.name, "model": "linear", "body": rival.body, "batch": BATCH, "connections": CONNECTIONS}
    row |= {"turns": len(rates), "served": round(statistics.median(turn[place] for turn in rates))}
    times = {f"simkit_{body}": statistics.median(turn[i] / turn[place] for turn in rates) for i, body in enumerate(OWN)}
    return row | {name: round(value, 2) for name, value in times.items()}


def _rate(rival: Rival) -> float:
    calls, seconds = service.served(rival.server, rival.request, CONNECTIONS, 1.0)
    return BATCH * calls / seconds


if __name__ == "__main__":
    run(main, __doc__)
