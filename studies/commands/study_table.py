"""`simkit study table`: lines of results as one comparison of detectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from studies.table.data import Table

WIDTH = 100
"""Columns of a table where no terminal says how many there are."""


Format: TypeAlias = Literal["text", "csv", "json", "html"]
Split: TypeAlias = Literal["tune", "calibrate", "report"]
By: TypeAlias = Literal["size", "attack", "architecture"]

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
Breakdown = Annotated[
    By | None,
    typer.Option("--by", help="Only this breakdown, by default those with several groups.", show_default=False),
]
Ledgers = Annotated[
    Path | None,
    typer.Option("--ledgers", metavar="DIR", help="Count what the ledgers here tried on these victims, too."),
]


def show_table(  # noqa: PLR0913 (the options are the command's interface)
    files: Files,
    wanted: FormatOption = None,
    out: OutFile = None,
    zoos: Zoos = None,
    split: SplitOption = None,
    by: Breakdown = None,
    ledgers: Ledgers = None,
) -> None:
    """Compare detectors on the victims of zoos: accuracy, TPR, FPR, AUROC, targets, cost, and each pair by McNemar.

    A row a method: a detector with its settings, its budget and what the service tells. Every share has its Wilson
    interval; the slides' figures stand apart, of other victims. Reads lines (and ledgers), never a model.
    """
    from studies.table.gather import Wanted, gather
    from studies.table.place import checked_place, format_of

    place = None if out is None else checked_place(out, files)
    form = wanted or format_of(out)
    chosen = Wanted(split, tuple(zoos or ()), (by,) if by else (), ledgers)
    said = _told(gather(files, chosen), form, place)
    if place is None:
        typer.echo(said, nl=False)
    else:
        write_out(place, said.encode())


def _told(table: Table, form: Format, place: Path | None) -> str:
    from studies.table import page, plain, text

    if form == "html":
        return page.page(table)
    if form == "csv":
        return plain.to_csv(table)
    if form == "json":
        return json.dumps(plain.to_json(table), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return text.text(table, shutil.get_terminal_size((WIDTH, 0)).columns if place is None else WIDTH)


def write_out(place: Path, said: bytes, *, aside: bool = False) -> None:
    """Write it, whole or not at all, and say so; aside: on stderr. Raises StorageError."""
    from simkit.files import write_atomically

    write_atomically(place, said)
    typer.echo(f"{place}: written", err=aside)
