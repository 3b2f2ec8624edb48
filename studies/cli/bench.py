"""`simkit bench`: is this machine, and this build, as fast as it should be?"""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import print_json, print_table, progress_bar

Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="Test images to send; by default random ones.", show_default=False),
]
Quick = Annotated[bool, typer.Option("--quick", help="A few seconds, rough numbers.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with 1 when a ratio misses its bar.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of torch; by default its own choice.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

RATIOS = 5


def measure(
    data: Data = None,
    quick: Quick = False,
    strict: Strict = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure what metering, recording and searching cost, each as a ratio with its bar."""
    import torch

    from studies.cli.bench_ratios import COLUMNS, QUICK, Bench, bench
    from studies.scan.run_key import environment

    torch.set_num_threads(threads or torch.get_num_threads())
    found = []
    with progress_bar("bench", quiet=as_json) as progress:
        progress(0, RATIOS)
        for measured in bench(QUICK if quick else Bench(), data):
            found.append(measured)
            progress(len(found), RATIOS)
    rows = [measured.row() for measured in found]
    if as_json:
        print_json({"ratios": rows, "passed": all(m.passed for m in found), "environment": environment()})
    else:
        print_table(rows, COLUMNS)
    if strict and not all(m.passed for m in found):
        raise typer.Exit(1)
