"""`simkit demo`: a complete example in about a minute."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from studies.cli.output import echo, print_json, print_table, progress_bar

OutFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for the victims, the ledger, the picture and the report.")
]
Service = Annotated[
    bool, typer.Option("--service", help="Serve the victims over HTTP, and scan them from a second process.")
]
Keep = Annotated[
    bool, typer.Option("--keep", help="With --service: serve on until Ctrl-C, to look at the service's console.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show_demo(
    out: OutFolder = Path("simkit-demo"), service: Service = False, keep: Keep = False, as_json: AsJson = False
) -> None:
    """Train three backdoored classifiers and a clean one, and tell them apart with query access only.

    Takes about a minute on two idle cores; downloads nothing.
    In the same folder, a second run prints the stored results. Each run with --service has
    its own folder of ledgers and keys in there.
    """
    import torch

    if keep and not service:
        from simkit.errors import ConfigError

        raise ConfigError("--keep is for --service; give both")
    torch.set_num_threads(1)  # the networks are too small to share among threads
    if service:
        _show_service(out, keep, as_json)
        return
    from studies.cli.demo_scans import COLUMNS, comparison, demo

    with progress_bar("demo", quiet=as_json) as progress:
        scans = demo(out, progress)
    db, picture, report, triggers = (str(out / name) for name in ("demo.db", "demo.png", "demo.html", "triggers.html"))
    if as_json:
        rows = [scan.row() for scan in scans]
        print_json({"scans": rows, "db": db, "picture": picture, "report": report, "triggers": triggers})
        return
    echo("Four classifiers of drawn shapes, three with a backdoor. A scan by `auto` sees only the service's answers:")
    echo("all scores, the top-3 scores, only the label, or noisy scores. Each cell shows verdict and queries.")
    print_table(comparison(scans), COLUMNS)
    echo(f"report: {report} (open it in a browser)")
    echo(f"original and reversed triggers: {triggers} and {picture}")
    echo(f"ledger with every query: {db} (simkit db runs {db})")


def _show_service(out: Path, keep: bool, as_json: bool) -> None:
    from oracles.errors import InvalidSpec
    from simkit.errors import ConfigError

    try:
        from studies.cli.demo_service import COLUMNS, Rows, prepared, scanned
    except (ImportError, InvalidSpec) as error:
        missing = getattr(error, "name", None) or "httpx2"
        needs = f"simkit demo --service needs {missing}: pip install 'b3d-simkit[serve,remote]'"
        raise ConfigError(needs) from error

    def ready(url: str, rows: Rows) -> None:
        if not as_json:
            echo("Two classifiers behind an HTTP API that tells the top-3 scores, and a second process with its key:")
            print_table(rows, COLUMNS)
        echo(f"console: {url}/console (log in with the token in {made.token})", err=as_json)
        if keep:
            echo("Ctrl-C ends the service", err=as_json)
            sys.stdout.flush()
            with suppress(KeyboardInterrupt):
                threading.Event().wait()

    with progress_bar("demo", quiet=as_json or keep) as progress:
        made, victims = prepared(out, progress)
        rows = scanned(made, victims, progress, ready)
    charged, spent, mismatches = made.sums()
    sums = {"charged": charged, "spent": spent, "mismatches": mismatches}
    if as_json:
        print_json({"scans": rows, "folder": str(made.folder), **sums})
        return
    echo(f"provider's ledger: {made.provider}: {charged:,} queries charged")
    echo(f"caller's ledger: {made.caller}: {spent:,} queries spent")
    echo(f"simkit db check of both: {'; '.join(mismatches) or 'no mismatch'}")
    echo(f"the service has ended; this serves it again: simkit serve --config {made.file}")
