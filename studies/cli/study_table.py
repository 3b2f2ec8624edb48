"""`simkit study table`: compare detectors by their result lines."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from studies.cli.options import WIDTH, Files, Format, FormatOption, OutFile, Pool, SplitOption, Zoos, write_out
from studies.cli.output import echo

if TYPE_CHECKING:
    from studies.results.table.records import Table


By: TypeAlias = Literal["size", "attack", "architecture"]

Breakdown = Annotated[
    By | None,
    typer.Option("--by", help="Show only this breakdown; by default those with several groups.", show_default=False),
]
Ledgers = Annotated[
    Path | None,
    typer.Option(
        "--ledgers", metavar="DIR", help="Also count the configurations in these ledgers as tried on the zoo."
    ),
]

Prior = Annotated[
    float | None,
    typer.Option(
        "--prior", metavar="P", help="Share of all models that carry a backdoor, for probabilities.", show_default="0.5"
    ),
]


def show_table(  # noqa: PLR0913 (the options are the command's interface)
    files: Files,
    wanted: FormatOption = None,
    out: OutFile = None,
    zoos: Zoos = None,
    split: SplitOption = None,
    by: Breakdown = None,
    ledgers: Ledgers = None,
    prior: Prior = None,
    pool: Pool = False,
) -> None:
    """Compare detectors on the victims of zoos: accuracy, TPR, FPR, AUROC, target classes, cost, and McNemar's test.

    Each row is a method: a detector with its settings, budget and service.
    Every rate has its Wilson interval; the slides' figures for other victims are shown separately.
    Reads result lines (and ledgers), but no model.
    """
    from studies.render.destinations import checked_place, format_of
    from studies.results.table.gather import Wanted, gather

    place = None if out is None else checked_place(out, files)
    form = wanted or format_of(out)
    chosen = Wanted(split, tuple(zoos or ()), (by,) if by else (), ledgers, pool=pool)
    chosen = chosen if prior is None else replace(chosen, prior=prior)
    output = _rendered(gather(files, chosen), form, place)
    if place is None:
        echo(output, nl=False)
    else:
        write_out(place, output.encode())


def _rendered(table: Table, form: Format, place: Path | None) -> str:
    from studies.results.table import export, views

    if form == "html":
        return views.page(table)
    if form == "csv":
        return export.to_csv(table)
    if form == "json":
        return json.dumps(export.to_json(table), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return views.text(table, shutil.get_terminal_size((WIDTH, 0)).columns if place is None else WIDTH)
