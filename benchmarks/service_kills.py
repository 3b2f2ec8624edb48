"""A scan over HTTP through faults and kills of both sides, against the scan in process: what is lost, and paid twice.

`simkit serve` and `simkit scan URL` run as processes of their own. Between them is a proxy through which a share of all
calls fails: dropped before the service has them or after it has answered, refused by a 500 or a 503, or slow. Each side
is killed (SIGKILL) again and again, after one to a few further answers and a moment, and restarted by the same command.
The verdict, the triggers, every answer and the spend must be those of the scan in process, each query must be charged
once, and `simkit db check` must find nothing in either ledger.

Each row has a seed; the same seed draws the same sides and faults, though not the same moments. The script ends with
exit code 1 if a row has a difference.

    python -m benchmarks.service_kills
    python -m benchmarks.service_kills --kills 10 --in-flight 8 --out results/service_kills.jsonl
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.faulty_proxy import Faults, proxy
from db import reads
from db.check import check
from simkit.files import make_folder
from simkit.zoo.zoo import make
from studies.cli.demo_digits import SETTINGS, SPEC
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.run_key import environment
from studies.service.keys import new_key

Side = Literal["service", "scan"]

COLUMNS = (
    "in_flight",
    "kills",
    "under_way",
    "faults",
    "verdict",
    "queries",
    "lost",
    "charged_twice",
    "same",
    "seconds",
)

_WAIT = 120.0
"""Seconds for a process to start, or for an answer to come, before the script gives up."""


@dataclass(frozen=True)
class Case:
    """What is scanned. model: a file, a victim of a zoo, or `python:module:name`. data, options: as of `simkit scan`.

    batch: images per call. local: further options of the scan in process.
    """

    model: str
    data: str
    options: tuple[str, ...]
    batch: int = 8
    local: tuple[str, ...] = ()

    def scan(self, model: str, folder: Path, options: Sequence[str] = ()) -> list[str]:
        """The command of a scan into `folder`."""
        command = ["scan", model, "--data", self.data, *self.options, "--db", str(folder / "scan.db"), "--json"]
        return [sys.executable, "-m", "studies.cli.entry", *command, *options]


@dataclass
class Sides:
    """Both processes and the commands that start them. folder: of the provider."""

    folder: Path
    commands: dict[Side, list[str]]
    key: str
    running: dict[Side, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self, side: Side) -> None:
        """Start a side. The service accepts connections when this returns."""
        started = {**os.environ, "SIMKIT_KILLS_KEY": self.key, "PYTHONUNBUFFERED": "1"}
        with (self.folder / f"{side}.errors").open("a") as errors:
            process = subprocess.Popen(
                self.commands[side], env=_environment(started), stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.running[side] = process
        if side == "service":
            assert process.stdout is not None
            line = process.stdout.readline()
            if "http://" not in line:
                raise RuntimeError(f"the service did not start: {(self.folder / 'service.errors').read_text()}")
            threading.Thread(target=process.stdout.read, daemon=True).start()

    def kill(self, side: Side) -> None:
        """SIGKILL, and the same command again."""
        process = self.running[side]
        process.kill()
        process.wait()
        self.start(side)

    def asking(self, until: float) -> Callable[[], bool]:
        """What tells whether the scan still runs, until this time (monotonic)."""
        return lambda: self.running["scan"].poll() is None and time.monotonic() < until

    def stop(self) -> None:
        """End what runs."""
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def _environment(started: dict[str, str]) -> dict[str, str]:
    return {**started, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), "OMP_NUM_THREADS": "1"}


def trial(case: Case, kills: Sequence[Side], in_flight: int, seed: int, folder: Path) -> dict[str, Any]:
    """The row of one scan through these kills, in order. same: names of what equals the scan in process."""
    began, here, there = time.monotonic(), folder / "here", folder / "there"
    for place in (here, there):
        make_folder(place)
    wanted = _reference(case, here)
    calls = -(-wanted["queries"]["spent"] // case.batch)
    draw = random.Random(seed)
    faults = Faults(_free_port(), random.Random(f"{seed}/faults"))
    under_way = 0
    with proxy(faults) as url:
        sides = _sides(case, there, faults.port, url, in_flight)
        try:
            sides.start("service")
            sides.start("scan")
            for side in kills:
                answers = draw.randint(1, max(1, calls // (2 * len(kills))))
                if not faults.wait(answers, sides.asking(time.monotonic() + _WAIT)):
                    raise RuntimeError(f"the scan asks no more: {(there / 'scan.errors').read_text()}")
                time.sleep(draw.uniform(0.0, 0.02))
                under_way += faults.open
                sides.kill(side)
            out, _ = sides.running["scan"].communicate(timeout=10 * _WAIT)
            if sides.running["scan"].returncode not in (0, 3):
                raise RuntimeError(f"the scan failed: {out} {(there / 'scan.errors').read_text()}")
        finally:
            sides.stop()
    row = {"in_flight": in_flight, "seed": seed, "kills": dict(Counter(kills)), "under_way": under_way}
    made = {name: count for name, count in sorted(faults.made.items()) if name}
    row |= {"calls": sum(faults.made.values()), "faults": made}
    row |= compared(wanted, json.loads(out), here, there)
    return row | {"seconds": round(time.monotonic() - began)}


def _reference(case: Case, folder: Path) -> dict[str, Any]:
    command = case.scan(case.model, folder, case.local)
    done = subprocess.run(command, env=_environment(dict(os.environ)), capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"the scan in process failed: {done.stdout} {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _sides(case: Case, folder: Path, port: int, url: str, in_flight: int) -> Sides:
    key = new_key(folder / "keys.toml", {"name": "the caller", "budget": 10**6}).text
    serve = [sys.executable, "-m", "studies.cli.entry", "serve", case.model, "--name", "victim", "--port", str(port)]
    serve += ["--keys", str(folder / "keys.toml"), "--db", str(folder / "provider.db")]
    serve += ["--max-batch", str(case.batch)]
    options = ("--api-key-env", "SIMKIT_KILLS_KEY", "--in-flight", str(in_flight))
    return Sides(folder, {"service": serve, "scan": case.scan(f"{url}/v2/models/victim", folder, options)}, key)


def compared(wanted: dict[str, Any], got: dict[str, Any], here: Path, there: Path) -> dict[str, Any]:
    """What a scan over HTTP found and cost, against that in process."""
    ledgers = [folder / "scan.db" for folder in (here, there)]
    charged = int(reads.spend(there / "provider.db")["charged"].sum())
    spent, asked = wanted["queries"]["spent"], len(reads.queries(ledgers[1]))
    told = ("verdict", "stopped", "flagged", "score", "clean_accuracy", "classes")
    same = {
        "verdict": [wanted[name] for name in told] == [got[name] for name in told],
        **{name: len({_rows(ledger, sql) for ledger in ledgers}) == 1 for name, sql in _STORED.items()},
        "spend": spent == got["queries"]["spent"] == charged == asked,
        "db check": [*check(ledgers[1]), *check(there / "provider.db")] == [],
    }
    return {
        "verdict": got["verdict"],
        "queries": got["queries"]["spent"],
        "lost": max(0, spent - asked),
        "charged_twice": max(0, charged - spent),
        "same": all(same.values()),
        "differs": [name for name, equal in same.items() if not equal],
    }


_STORED = {
    "triggers": "SELECT target_class, mask, pattern, successes, trials FROM triggers ORDER BY target_class",
    "answers": "SELECT image, candidate, label, score, answer, charged FROM queries ORDER BY query",
}


def _rows(ledger: Path, statement: str) -> str:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as base:
        return hashlib.sha256(repr(base.execute(statement).fetchall()).encode()).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])


def drawn(kills: int, seed: int) -> list[Side]:
    """So many kills of each side, in an order that the seed draws."""
    sides: list[Side] = [side for side in ("service", "scan") for _ in range(kills)]
    random.Random(f"{seed}/sides").shuffle(sides)
    return sides


def demo_cases(folder: Path) -> list[Case]:
    """The two victims of `simkit demo`, a backdoored one and a clean one, as its search of small patches scans them."""
    zoo, settings = make(SPEC, folder / "zoo"), SETTINGS
    options = ["--preset", "random-patch"]
    for name, value in _flat(settings):
        options += ["--set", f"{name}={value}"]
    return [
        Case(f"{folder / 'zoo'}:{index}", "digits", tuple(options), local=("--chunk", "8"))
        for index in range(len(zoo.victims))
    ]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in _flat(value))
        else:
            yield name, value


def main(
    kills: Annotated[int, typer.Option(min=0, help="Kills of each side in a row.")] = 10,
    in_flight: Annotated[list[int] | None, typer.Option(help="Calls side by side; 1 and 8.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sides, faults and moments of the first row.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per row.")] = None,
) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="simkit-kills-") as name:
        cases = demo_cases(Path(name))
        for number, (case, calls) in enumerate(product(cases, in_flight or (1, 8))):
            own = seed + number
            rows.append(trial(case, drawn(kills, own), calls, own, Path(name) / f"row-{number}"))
            _written(rows[-1], out)
    print_table(rows, COLUMNS)
    if not all(row["same"] for row in rows):
        raise typer.Exit(1)


def _written(row: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            load = round(os.getloadavg()[0], 1)
            stream.write(
                json.dumps({**row, "cores": os.cpu_count(), "load": load, "environment": environment()}) + "\n"
            )


if __name__ == "__main__":
    run(main, __doc__)
