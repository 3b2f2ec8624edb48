"""`simkit db`: look at a ledger without changing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.output import print_json, print_table

app = typer.Typer(help="Look at a ledger: the file with every query and every verdict.", no_args_is_help=True)

LedgerFile = Annotated[Path, typer.Argument(metavar="FILE", help="The ledger.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COLUMNS = (
    "run",
    "model",
    "data",
    "preset",
    "oracle",
    "seed",
    "state",
    "verdict",
    "stopped",
    "score",
    "flagged",
    "spent",
    "budget",
    "seconds",
)


@app.command("check")
def check_ledger(file: LedgerFile, as_json: AsJson = False) -> None:
    """Count again everything that FILE counts; each mismatch is a line, and any mismatch ends with exit code 5."""
    from db.check import check
    from db.errors import StorageError

    mismatches = check(file)
    if as_json:
        print_json({"file": str(file), "mismatches": mismatches})
    else:
        for mismatch in mismatches:
            typer.echo(mismatch)
    if mismatches:
        raise StorageError(f"{file}: {len(mismatches)} found; restore it from a copy, or scan into a fresh file")
    if not as_json:
        typer.echo(f"{file}: sound")


@app.command("runs")
def list_runs(file: LedgerFile, as_json: AsJson = False) -> None:
    """The runs in FILE: verdict, queries spent, budget, seconds."""
    rows = run_rows(file)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, COLUMNS)


def run_rows(file: Path) -> list[dict[str, Any]]:
    """One mapping with COLUMNS a run, by id; what only a verdict tells is None in an open run.

    Raises StorageError where `file` is no ledger.
    """
    from db import reads

    own = ["run", "verdict", "stopped", "score", "flagged", "seconds"]
    frame = reads.runs(file).merge(reads.verdicts(file)[own], on="run", how="left")
    frame["preset"] = [json.loads(config).get("preset") for config in frame["config"]]
    rows: list[dict[str, Any]] = json.loads(frame[list(COLUMNS)].to_json(orient="records"))
    for row in rows:
        row["oracle"] = _limits(row["oracle"])
        row["flagged"] = json.loads(row["flagged"]) if row["flagged"] else None
    return rows


def _limits(oracle: str) -> str:
    """What the service withholds, of its spec; `scores` where it withholds nothing."""
    spec = {name: value for name, value in json.loads(oracle).items() if value and name != "seed"}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in spec.items()) or "scores"
