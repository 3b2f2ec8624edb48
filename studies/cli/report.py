"""`simkit report`: a ledger as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LedgerFile = Annotated[Path, typer.Argument(metavar="DB", help="The ledger; it may be of a running scan.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The page; by default DB.html beside the ledger.")
]
Runs = Annotated[list[int] | None, typer.Option("--run", metavar="N", help="Only this run; may be given again.")]
Zoos = Annotated[
    list[Path] | None,
    typer.Option("--zoo", metavar="DIR", help="A zoo that knows the truth about the models; may be given again."),
]


def write_report(db: LedgerFile, out: OutFile = None, runs: Runs = None, zoos: Zoos = None) -> None:
    """Write one HTML page that needs nothing else: verdicts, triggers, mask sizes, queries, and how to repeat them.

    Reads the ledger and the manifests of zoos, never a model. Where a model still lies in its zoo, the truth is found
    without --zoo.
    """
    from simkit.files import write_atomically
    from studies.render.destinations import checked_report_place as checked_place
    from studies.report.gather import gather
    from studies.report.page import render

    page = checked_place(db, out)
    data = gather(db, runs or [], zoos or [])
    write_atomically(page, render(data).encode())
    typer.echo(f"{page}: {len(data.runs)} {'run' if len(data.runs) == 1 else 'runs'} of {db}")
