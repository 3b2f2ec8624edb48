"""Processor time of whole `simkit` processes, as ratios to an empty Python process and to one that imports torch.

python benchmarks/startup.py --out results/startup.jsonl
python benchmarks/startup.py --checkout path/to/another/checkout --checkout . --out results/startup.jsonl

Every command runs in a new process, with byte code cached, in turns with the two processes that it is compared with;
the least processor time (user and system) of the rounds counts, since other work on the machine only adds to it. The
scan is of a small victim of the digits by the preset `race`, each time into a new ledger.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from simkit.files import make_folder
from studies.cli.output import print_table
from studies.cli.scripts import run

COLUMNS = ("checkout", "command", "seconds", "of_python", "of_torch")

NOTHING, TORCH = ("-c", "pass"), ("-c", "import torch")

_SPEC = {"name": "zoo", "data": "digits", "split": "tune", "models": 1, "clean_share": 1.0}
_BUDGET = 3_000


def main(
    checkout: Annotated[list[Path] | None, typer.Option(help="A checkout to measure; may be given again.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the first, which caches the byte code.")] = 10,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line per checkout.")] = None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="simkit-startup-") as folder:
        made = [Checkout.prepared(path.resolve(), Path(folder) / str(i)) for i, path in enumerate(checkout or [HERE])]
        measured = measure(made, rounds)
    lines = [line(one, measured[one.path]) for one in made]
    print_table([{"checkout": one["commit"], **row} for one in lines for row in one["commands"]], COLUMNS)
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(one) + "\n" for one in lines)


HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Checkout:
    """A checkout at `path` of which processes are measured, in the folder `work` with a model and a ledger."""

    path: Path
    work: Path

    @classmethod
    def prepared(cls, path: Path, work: Path) -> Checkout:
        """With a victim of one epoch, and the ledger of one scan of it, both made by this checkout."""
        work.mkdir()
        made = cls(path, work)
        (work / "spec.json").write_text(json.dumps(_SPEC | {"train": {"epochs": 1}, "required_success": 0.0}))
        made.start([*made.simkit, "zoo", "make", "spec.json", "--out", "zoo"])
        made.start([*made.simkit, *made.scan("ledger.db")])
        return made

    @property
    def simkit(self) -> list[str]:
        """How the command is started; earlier the module was `studies.cli`."""
        return ["-m", "studies.cli.main" if (self.path / "studies" / "cli").is_dir() else "studies.cli"]

    def scan(self, db: str) -> list[str]:
        """The command of a scan by the race."""
        return ["scan", "zoo:0", "--data", "digits", "--preset", "race", "--budget", str(_BUDGET), "--db", db]

    def commands(self) -> dict[str, list[str]]:
        """The arguments of Python by what they are called in the results; each scan takes a new ledger."""
        simkit = {
            "simkit --help": ["--help"],
            "simkit db runs": ["db", "runs", "ledger.db"],
            "simkit db check": ["db", "check", "ledger.db"],
            "simkit report": ["report", "ledger.db", "--out", "page.html"],
            "simkit replay --at": ["replay", "ledger.db", "--at", "500,1000"],
            "simkit scan --preset race": self.scan(f"{len(list(self.work.glob('*.db')))}.db"),
        }
        both = {"python -c pass": list(NOTHING), "python -c 'import torch'": list(TORCH)}
        return both | {name: [*self.simkit, *words] for name, words in simkit.items()}

    def start(self, words: Sequence[str]) -> float:
        """The processor time in seconds of a Python process with this checkout's code; raises where it fails."""
        settings = {"PYTHONPATH": str(self.path), "SIMKIT_HOME": str(self.work), "OMP_NUM_THREADS": "1"}
        settings |= {"PYTHONDONTWRITEBYTECODE": ""}  # empty is unset
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words],
            cwd=self.work,
            env=os.environ | settings,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(checkouts: Sequence[Checkout], rounds: int) -> dict[Path, dict[str, float]]:
    """The least processor time of every command of every checkout, in turns; the first round is not counted."""
    least: dict[Path, dict[str, float]] = {one.path: {} for one in checkouts}
    for number in range(rounds + 1):
        for one in checkouts:
            for name, words in one.commands().items():
                seconds = one.start(words)
                if number > 0:
                    least[one.path][name] = min(seconds, least[one.path].get(name, seconds))
    return least


def line(checkout: Checkout, seconds: Mapping[str, float]) -> dict[str, Any]:
    """A line of results: the commands with their seconds, and the ratios to the two processes measured beside them."""
    nothing, torch = seconds["python -c pass"], seconds["python -c 'import torch'"]
    rows = [
        {"command": name, "seconds": round(took, 3), "of_python": round(took / nothing, 1)}
        | {"of_torch": round(took / torch, 2)}
        for name, took in seconds.items()
    ]
    asked = ["git", "-C", str(checkout.path), "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or None
    machine = {"python": platform.python_version(), "torch": version("torch"), "machine": platform.machine()}
    return {"commit": commit, "commands": rows, "environment": machine}


if __name__ == "__main__":
    run(main, __doc__)
