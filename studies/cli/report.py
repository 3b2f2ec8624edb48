"""`simkit report`: write a ledger as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import echo

LedgerFile = Annotated[Path, typer.Argument(metavar="DB", help="The ledger, which may be of a running scan.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The page; by default DB.html beside the ledger.")
]
Runs = Annotated[list[int] | None, typer.Option("--run", metavar="N", help="Show only this run; may be repeated.")]
Zoos = Annotated[
    list[Path] | None,
    typer.Option("--zoo", metavar="DIR", help="A zoo that holds the truth about the models; may be repeated."),
]


def write_report(db: LedgerFile, out: OutFile = None, runs: Runs = None, zoos: Zoos = None) -> None:
    """Write one self-contained HTML page: verdicts, triggers, mask sizes, queries, and the commands to reproduce them.

    Reads the ledger and the manifests of zoos, but no model.
    The truth about a model in a zoo's folder is found without --zoo.
    """
    from simkit.files import write_atomically
    from studies.render.destinations import checked_report_place as checked_place
    from studies.report.gather import gather
    from studies.report.page import render

    page = checked_place(db, out)
    data = gather(db, runs or [], zoos or [])
    write_atomically(page, render(data).encode())
    echo(f"{page}: {len(data.runs)} {'run' if len(data.runs) == 1 else 'runs'} of {db}")
