"""`simkit bench`: check whether this machine and this build are as fast as they should be."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import print_json, print_table, progress_bar

Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DATA", help="Test images to query with; by default random ones.", show_default=False
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Measure for a few seconds only, with rough numbers.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if a ratio misses its bar.")]
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
    """Measure the overhead of metering, recording and searching, each as a ratio with the bar it should meet."""
    import torch

    from studies.cli.bench_ratios import COLUMNS, QUICK, Bench, bench
    from studies.scan.run_key import environment

    torch.set_num_threads(threads or torch.get_num_threads())
    ratios = []
    with progress_bar("bench", quiet=as_json) as progress:
        progress(0, RATIOS)
        for measured in bench(QUICK if quick else Bench(), data):
            ratios.append(measured)
            progress(len(ratios), RATIOS)
    rows = [measured.row() for measured in ratios]
    passed = all(measured.passed for measured in ratios)
    if as_json:
        print_json({"ratios": rows, "passed": passed, "environment": environment()})
    else:
        print_table(rows, COLUMNS)
    if strict and not passed:
        raise typer.Exit(1)
