"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

_WORKERS, _THREADS = "Processes that scan at once.", "Threads of torch in each."

_EXECUTOR = "processes, or dask://HOST:PORT: a scheduler of Dask."

WorkersOption = Annotated[int, typer.Option("--workers", min=1, help=_WORKERS)]

ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help=_THREADS)]

ExecutorOption = Annotated[str, typer.Option("--executor", metavar="NAME", help=_EXECUTOR)]

OtherWorkers = Annotated[int | None, typer.Option("--workers", min=1, help=f"{_WORKERS} By default the file's.")]

OtherExecutor = Annotated[
    str | None, typer.Option("--executor", metavar="NAME", help=f"{_EXECUTOR} By default the file's.")
]

ExactOption = Annotated[
    Literal["none", "staged", "all"],
    typer.Option("--exact", help="Read verdicts and scores at the budgets off these ledgers; takes seconds a scan."),
]

ZooFolder = Annotated[Path, typer.Argument(metavar="ZOO", help="A zoo's folder.", show_default=False)]

Data = Annotated[str | None, typer.Option("--data", metavar="DATA", help="As of simkit scan; by default the zoo's.")]

OracleOption = Annotated[str, typer.Option("--oracle", metavar="SPEC", help="As of simkit scan.")]

Indices = Annotated[str | None, typer.Option("--indices", metavar="0-19,25", help="Only these victims.")]

Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N victims, by index.")]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="As of simkit scan: seed=1, search_images=64 ..."),
]

WIDTH = 100
"""Columns of a table where no terminal says how many there are."""

Format: TypeAlias = Literal["text", "csv", "json", "html"]

Split: TypeAlias = Literal["tune", "calibrate", "report"]

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Lines that `simkit study scan` wrote.", show_default=False)
]

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="By default as --out ends, else text.", show_default=False)
]

OutFile = Annotated[Path | None, typer.Option("--out", metavar="PATH", help="Write it here: .txt, .csv, .json, .html.")]

Zoos = Annotated[list[str] | None, typer.Option("--zoo", metavar="NAME", help="Only this zoo; may be given again.")]

SplitOption = Annotated[
    Split | None,
    typer.Option(
        "--split", help="Only its lines, never pooled; by default report, or the one there is.", show_default=False
    ),
]


def write_out(place: Path, said: bytes, *, aside: bool = False) -> None:
    """Write it, whole or not at all, and say so; aside: on stderr. Raises StorageError."""
    from simkit.files import write_atomically

    write_atomically(place, said)
    typer.echo(f"{place}: written", err=aside)
