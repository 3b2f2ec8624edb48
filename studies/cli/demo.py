"""`simkit demo`: see it work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import print_json, print_table, progress_bar

OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where victims, ledger and picture are put.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_demo(out: OutFolder = Path("simkit-demo"), as_json: AsJson = False) -> None:
    """Train a clean and a backdoored classifier, and tell them apart by queries alone, behind four services.

    Takes less than a minute. Again in the same folder, it answers from its ledger.
    """
    import torch

    from studies.cli.demo_scans import COLUMNS, demo

    torch.set_num_threads(1)  # images of 8x8 are too small to share among threads
    with progress_bar("demo", quiet=as_json) as progress:
        scans = demo(out, progress)
    rows = [scan.row() for scan in scans]
    if as_json:
        print_json({"scans": rows, "db": str(out / "demo.db"), "picture": str(out / "demo.png")})
        return
    typer.echo("Two classifiers of handwritten digits, one with a backdoor. Each scan saw only the service's answers.")
    print_table(rows, COLUMNS)
    typer.echo(f"every query: {out / 'demo.db'} (simkit db runs {out / 'demo.db'})")
    typer.echo(f"original and reversed triggers: {out / 'demo.png'}")
