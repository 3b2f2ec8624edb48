"""`simkit demo`: a complete example in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import echo, print_json, print_table, progress_bar

OutFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for the victims, the ledger, the picture and the report.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_demo(out: OutFolder = Path("simkit-demo"), as_json: AsJson = False) -> None:
    """Train a clean and a backdoored classifier, and tell them apart with query access only, through four services.

    Takes about a minute on two idle cores; downloads nothing.
    In the same folder, a second run prints the stored results.
    """
    import torch

    from studies.cli.demo_scans import COLUMNS, comparison, demo

    torch.set_num_threads(1)  # images of 8x8 are too small to share among threads
    with progress_bar("demo", quiet=as_json) as progress:
        scans = demo(out, progress)
    db, picture, report = (str(out / f"demo.{ending}") for ending in ("db", "png", "html"))
    if as_json:
        rows = [scan.row() for scan in scans]
        print_json({"scans": rows, "db": db, "picture": picture, "report": report})
        return
    echo("Two classifiers of handwritten digits, one with a backdoor. A scan sees only the service's answers:")
    echo("all scores, the top-3 scores, only the label, or noisy scores. Each cell shows verdict and queries.")
    print_table(comparison(scans), COLUMNS)
    echo(f"report: {report} (open it in a browser)")
    echo(f"original and reversed triggers: {picture}")
    echo(f"ledger with every query: {db} (simkit db runs {db})")
