"""Two victims behind model servers of others, scanned over HTTP, against the scans of the same files in process.

    python benchmarks/other_servers.py --python /usr/bin/python3.11 --out results/servers.jsonl

Makes two networks on the built-in digits, one of them with a backdoor, as ONNX files, and for each server an
environment with uv in which it serves them on 127.0.0.1; the programs are in benchmarks/servers. One line per server.
Triton is that of nvidia-pytriton, which runs with Debian's Python 3.11.2, but not with every build of 3.11 or 3.12. A
server that cannot be installed or started has `why` in its line; only a verdict that differs is a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from oracles.oracle import ImageShape
from simkit.files import make_folder
from simkit.zoo.networks import NETWORKS
from simkit.zoo.zoo import make
from studies.cli.demo_digits import SETTINGS, SPEC
from studies.cli.output import print_table
from studies.cli.scripts import check_only, run
from studies.scan.config import ScanConfig
from studies.scan.models import Model
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.scan.run_key import environment

PROGRAMS = Path(__file__).resolve().parent / "servers"
PRESET, SHAPE, CLASSES = "random-patch", (1, 8, 8), 10
START_SECONDS = 120.0
COLUMNS = ("server", "verdicts", "queries", "failed calls", "same")

TEMPLATE = """
url = "http://127.0.0.1:{port}/predict"
body = '{{"images": {{images_json}}}}'
batch = 32
classes = {classes}
image_shape = [1, 8, 8]
[answer]
images = "$.scores[*]"
scores = "$[*]"
"""


@dataclass(frozen=True)
class Server:
    """A server of others: the packages of its environment, and whether it speaks the Open Inference Protocol."""

    program: str
    packages: tuple[str, ...]
    protocol: bool = True


SERVERS = {
    "kserve": Server("kserve_model.py", ("kserve",)),
    "mlserver": Server("mlserver_model.py", ("mlserver", "fastapi<0.116")),
    "nvidia-pytriton": Server("triton_model.py", ("nvidia-pytriton", "numpy<2")),
    "litserve": Server("litserve_model.py", ("litserve",), protocol=False),
}


def main(
    only: Annotated[list[str] | None, typer.Option(help="A server; all of them.")] = None,
    python: Annotated[str, typer.Option(help="The interpreter of the environments.")] = sys.executable,
    environments: Annotated[Path | None, typer.Option(help="Keeps the environments here; removed by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets a line per server.")] = None,
) -> None:
    check_only(only, SERVERS)
    with tempfile.TemporaryDirectory(prefix="simkit-servers-") as name:
        folder = Path(name)
        models = victims(folder)
        here = [scanned(model, folder / f"{model.stem}.db") for model in models]
        lines = []
        for server in only or SERVERS:
            home = (environments or folder / "environments").absolute() / server
            lines.append(compared(server, home, python, models, here))
            _written(lines[-1], out)
    print_table([_row(line) for line in lines], COLUMNS)
    if not all(line["same"] for line in lines if "why" not in line):
        raise typer.Exit(1)


def victims(folder: Path) -> list[Path]:
    """The demo's two networks as ONNX files with one input, `images`, and one output of probabilities, `scores`."""
    paths = []
    for victim in make(SPEC, folder / "zoo").victims:
        module = load_model(folder / "zoo" / str(victim.file), NETWORKS, Description(image_shape=SHAPE)).module
        paths.append(exported(module, SHAPE, folder / f"{victim.truth}.onnx"))
    return paths


def exported(module: nn.Module, shape: ImageShape, path: Path) -> Path:
    """A module that answers logits as an ONNX file of probabilities."""
    served, axes = nn.Sequential(module, nn.Softmax(1)).eval(), {name: {0: "batch"} for name in ("images", "scores")}
    options: dict[str, Any] = {"input_names": ["images"], "output_names": ["scores"], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package announces its end
        torch.onnx.export(served, (torch.rand(2, *shape),), path, dynamo=False, **options)
    return path


def scanned(model: Model, ledger: Path) -> dict[str, Any]:
    """The scan of one model: what it found, and the outcomes of its calls where it is remote."""
    config = ScanConfig.of({"data": "digits", "preset": PRESET, **SETTINGS})
    result = run_scan(prepare(model, config), db=ledger)
    found = {"verdict": result.verdict, "flagged": list(result.flagged), "queries": result.spent}
    with closing(sqlite3.connect(ledger)) as base:
        counted = base.execute("SELECT outcome, count(*) FROM attempts WHERE outcome != 'sent' GROUP BY outcome")
        return {"found": found, "calls": dict(counted.fetchall())}


def compared(name: str, home: Path, python: str, models: list[Path], here: list[dict[str, Any]]) -> dict[str, Any]:
    """The line of one server. here: the scans of the same models in process."""
    server, rows = SERVERS[name], []
    line: dict[str, Any] = {"server": name, "environment": environment()}
    try:
        line["versions"] = installed(server, home, python)
        for model, known in zip(models, here, strict=True):
            with serving(server, home, model) as (port, _):
                there = scanned(_address(server, port, model), model.with_suffix(f".{name}.db"))
            rows.append({"victim": model.stem, **there["found"], "calls": there["calls"], "in_process": known["found"]})
    except (OSError, subprocess.CalledProcessError, ModelError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        line["why"] = " ".join((said or str(error)).split())[-300:]
    same = len(rows) == len(models) and all(there["found"] == row["in_process"] for there, row in _pairs(rows))
    return line | {"preset": PRESET, "victims": rows, "same": same}


def _pairs(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [({"found": {name: row[name] for name in ("verdict", "flagged", "queries")}}, row) for row in rows]


def installed(server: Server, home: Path, python: str) -> dict[str, str]:
    """The versions of the packages in the server's environment, which is made where it is missing."""
    uv = shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv is not on the path: pip install uv")
    if not (home / "bin" / "python").exists():
        for command in (["venv", "-q", "-p", python, home], ["pip", "install", "-q", "-p", home, "onnxruntime"]):
            packages = server.packages if command[0] == "pip" else ()
            subprocess.run([uv, *map(str, command), *packages], check=True, capture_output=True, text=True)
    listed = subprocess.run([uv, "pip", "list", "--format", "json", "-p", home], check=True, capture_output=True)
    versions = {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}
    return {name: versions[name] for name in (server.packages[0], "onnxruntime", "numpy")}


@contextmanager
def serving(server: Server, home: Path, model: Path) -> Iterator[tuple[int, int]]:
    """The server with the model, in a session of its own: its port and the id of its first process.

    Raises ModelError if it fails to start.
    """
    port = _free_ports(3)
    command = [str(home / "bin" / "python"), str(PROGRAMS / server.program), str(model), str(port)]
    paths = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(PROGRAMS)}
    started = {**os.environ, **paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            command, cwd=model.parent, env=started, stdout=told, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _await(
                process, f"http://127.0.0.1:{port}/{'v2/models/victim/ready' if server.protocol else 'health'}", told
            )
            yield port, process.pid
        finally:
            _end(process)


def _await(process: subprocess.Popen[bytes], url: str, told: Any) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    told.seek(0)
    raise ModelError(f"the server did not start: {told.read()[-300:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            first = int(found.getsockname()[1])
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError):
            continue
        return first


def _address(server: Server, port: int, model: Path) -> str:
    if server.protocol:
        return f"http://127.0.0.1:{port}/v2/models/victim"
    path = model.with_suffix(".toml")
    path.write_text(TEMPLATE.format(port=port, classes=json.dumps([str(number) for number in range(CLASSES)])))
    return f"template:{path}"


def _row(line: dict[str, Any]) -> dict[str, str]:
    rows = line["victims"]
    failed = [sum(count for kind, count in row["calls"].items() if kind != "answered") for row in rows]
    return {
        "server": " ".join([line["server"], line.get("versions", {}).get(line["server"], "")]),
        "verdicts": ", ".join(row["verdict"] for row in rows) or line.get("why", ""),
        "queries": ", ".join(f"{row['queries']:,}" for row in rows),
        "failed calls": ", ".join(map(str, failed)),
        "same": "yes" if line["same"] else "NO",
    }


def _written(line: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    run(main, __doc__)
