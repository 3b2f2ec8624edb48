"""`simkit db`: look at a ledger without changing it, bring it to today's schema, export it, merge others into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.cli.output import print_json, print_table

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
    "api_seconds",
    "cost",
)


SHOWN = ("run", "model", "preset", "oracle", "verdict", "flagged", "spent")
"""Of COLUMNS, those that fit a terminal."""

SHOWN_IF_TOLD = ("api_seconds", "cost")
"""Shown where a service of the ledger has a pace or a price."""

MERGED = ("source", "run", "model", "key", "outcome", "into")


@app.command("check")
def check_ledger(file: LedgerFile, as_json: AsJson = False) -> None:
    """Count again everything that FILE counts; each mismatch is a line, and any mismatch ends with exit code 5."""
    from db.check import check
    from db.engine import reading
    from db.errors import StorageError

    with reading(file, older=False):  # what is no ledger of today has no mismatches: the error alone is told
        pass
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


@app.command("upgrade")
def upgrade_ledger(file: LedgerFile) -> None:
    """Bring FILE to the schema of this simkit, all or nothing; its rows stay as they are."""
    from db.engine import identify
    from db.errors import StorageError
    from db.ledger import Ledger

    before = identify(file)
    if before is None:
        raise StorageError(f"{file}: no ledger there; check the path")
    Ledger.open(file).close()
    typer.echo(f"{file}: schema {before} to {identify(file)}")


@app.command("runs")
def list_runs(file: LedgerFile, as_json: AsJson = False) -> None:
    """The runs in FILE: verdict, queries spent, and where the service states them, its time and cost.

    --json has more of each: data, seed, budget, score, seconds, and why the scan stopped.
    """
    rows = run_rows(file)
    if as_json:
        print_json(rows)
    else:
        told = [name for name in SHOWN_IF_TOLD if any(row[name] is not None for row in rows)]
        print_table([_short(row) for row in rows], (*SHOWN, *told))


@app.command("export")
def export_ledger(
    file: LedgerFile,
    parquet: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.", show_default=False)],
    run: Annotated[int | None, typer.Option(help="This run alone, by its number in `simkit db runs`.")] = None,
) -> None:
    """Write FILE as Parquet: every query with its answer, the steps, the verdicts, the triggers; counted afterwards."""
    from db.export import export

    told = export(file, parquet, run)
    typer.echo(f"{parquet}: {told.queries:,} queries of {len(told.runs)} runs, {told.charged:,} charged")


@app.command("merge")
def merge_ledgers(
    into: Annotated[Path, typer.Argument(metavar="INTO", help="A ledger, or a new file.", show_default=False)],
    sources: Annotated[list[Path], typer.Argument(metavar="FROM...", help="Ledgers.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Take the finished runs of every FROM into INTO, by their key, all or none; every FROM stays as it is.

    A run that is in INTO already is kept as it is there, so that merging twice changes nothing; an open one is replaced
    by the finished one that began with the same calls. Open runs of FROM, also those being scanned now, stay there.
    """
    from db.merge import merge

    rows = [{**vars(found), "source": str(found.source)} for found in merge(into, sources)]
    if as_json:
        print_json(rows)
    else:
        print_table([{**row, "key": str(row["key"])[:12]} for row in rows], MERGED)


def run_rows(file: Path) -> list[dict[str, Any]]:
    """One mapping with COLUMNS a run, by id; what only a verdict tells is None in an open run.

    Raises StorageError where `file` is no ledger.
    """
    from db import reads
    from simkit.detectors.registry import searched_by

    rows = [row | {"preset": searched_by(json.loads(row["config"]))} for row in reads.listed(file)]
    for row in rows:
        row["oracle"] = _limits(row["oracle"])
        row["flagged"] = json.loads(row["flagged"]) if row["flagged"] else None
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """The model without its folder; an open run says so instead of a verdict."""
    name = row["model"].rstrip("/").rpartition("/")[2] or row["model"]
    return row | {"model": name, "verdict": row["verdict"] or row["state"]}


def _limits(oracle: str) -> str:
    """What the service withholds, of its spec; `scores` where it withholds nothing."""
    spec = {name: value for name, value in json.loads(oracle).items() if value and name != "seed"}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in spec.items()) or "scores"
