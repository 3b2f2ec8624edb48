"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from studies.cli.output import echo

_WORKERS, _THREADS = "Number of processes that scan in parallel.", "Threads of torch per process."

_EXECUTOR = "processes, or dask://HOST:PORT for the scheduler of a Dask cluster."

WorkersOption = Annotated[int, typer.Option("--workers", min=1, help=_WORKERS)]

ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help=_THREADS)]

ExecutorOption = Annotated[str, typer.Option("--executor", metavar="NAME", help=_EXECUTOR)]

OtherWorkers = Annotated[
    int | None, typer.Option("--workers", min=1, help=f"{_WORKERS} By default as in the study file.")
]

OtherExecutor = Annotated[
    str | None, typer.Option("--executor", metavar="NAME", help=f"{_EXECUTOR} By default as in the study file.")
]

ExactOption = Annotated[
    Literal["none", "staged", "all"],
    typer.Option(
        "--exact", help="Scans whose verdicts at each budget are computed exactly from ledgers; takes seconds per scan."
    ),
]

NewRunOption = Annotated[
    bool,
    typer.Option(
        "--new-run",
        help="Begin scans anew, and pay again, that were interrupted with another number of threads or other library"
        " versions; without it they are refused.",
    ),
]

ZooFolder = Annotated[Path, typer.Argument(metavar="ZOO", help="A zoo's folder.", show_default=False)]

Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="Images, as in simkit scan; by default those of the zoo.")
]

OracleOption = Annotated[
    str, typer.Option("--oracle", metavar="SPEC", help="The service's answers, as in simkit scan.")
]

Indices = Annotated[str | None, typer.Option("--indices", metavar="0-19,25", help="Use only these victims.")]

Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N victims, by index.")
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Any setting of simkit scan, such as seed=1 or search_images=64."
    ),
]

WIDTH = 100
"""Width of a table, in columns, where there is no terminal."""

Format: TypeAlias = Literal["text", "csv", "json", "html"]

Split: TypeAlias = Literal["tune", "calibrate", "report"]

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Files of result lines that `simkit study` wrote.", show_default=False),
]

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="By default the suffix of --out, else text.", show_default=False)
]

OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="PATH", help="Write the output to this .txt, .csv, .json or .html file.")
]

Zoos = Annotated[list[str] | None, typer.Option("--zoo", metavar="NAME", help="Show only this zoo; may be repeated.")]

Pool = Annotated[bool, typer.Option("--pool", help="Treat all zoos as one; by default each is shown by itself.")]

SplitOption = Annotated[
    Split | None,
    typer.Option(
        "--split", help="The split to show; by default report, or the only one in the files.", show_default=False
    ),
]


def write_out(place: Path, content: bytes, *, aside: bool = False) -> None:
    """Write a whole file or nothing, and print its path, on stderr where `aside` is set. Raises StorageError."""
    from simkit.files import write_atomically

    write_atomically(place, content)
    echo(f"{place}: written", err=aside)
