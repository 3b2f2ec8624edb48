"""`simkit study leaderboard`: every detector on every zoo, made from result lines alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from studies.cli.options import WIDTH, Files, SplitOption, Zoos, write_out
from studies.cli.output import echo

if TYPE_CHECKING:
    from studies.results.leaderboard.records import Leaderboard

Form: TypeAlias = Literal["text", "markdown", "csv", "json", "html"]

FormOption = Annotated[
    Form | None, typer.Option("--format", help="By default the suffix of --out, else text.", show_default=False)
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="PATH", help="Write the output to this .md, .html, .txt, .csv or .json file."),
]


def show_leaderboard(
    files: Files, wanted: FormOption = None, out: OutFile = None, zoos: Zoos = None, split: SplitOption = None
) -> None:
    """List every detector on every zoo and behind every service: correct verdicts, TPR, FPR and queries.

    Rows with other budgets or settings are kept apart, and those without today's default settings are marked.
    Reads result lines only; files of other measurements beside them are left out and named.
    """
    from studies.results.leaderboard.gather import gather_leaderboard
    from studies.results.table.gather import Wanted

    place = None if out is None else _checked(out, files)
    form = wanted or _form(out)
    output = _rendered(gather_leaderboard(files, Wanted(split, tuple(zoos or ()))), form, place)
    if place is None:
        echo(output, nl=False)
    else:
        write_out(place, output.encode())


_MARKDOWN = ".md"


def _form(out: Path | None) -> Form:
    from studies.render.destinations import format_of

    return "markdown" if out is not None and out.suffix.lower() == _MARKDOWN else format_of(out)


def _checked(out: Path, files: list[Path]) -> Path:
    """As `checked_place`; of Markdown files only a leaderboard is replaced, since others are written by hand."""
    from db.errors import StorageError
    from studies.render.destinations import begins_with, checked_place
    from studies.results.leaderboard.views import HEADING

    if out.suffix.lower() != _MARKDOWN:
        return checked_place(out, files)
    place = checked_place(out, files, (_MARKDOWN,))
    if place.exists() and not begins_with(place, HEADING.encode()):
        raise StorageError(f"{place}: exists already and is no leaderboard; name another file, or remove this one")
    return place


def _rendered(board: Leaderboard, form: Form, place: Path | None) -> str:
    from studies.results.leaderboard import export, views

    if form == "html":
        return views.page(board)
    if form == "markdown":
        return views.markdown(board)
    if form == "csv":
        return export.to_csv(board)
    if form == "json":
        return json.dumps(export.to_json(board), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return views.text(board, shutil.get_terminal_size((WIDTH, 0)).columns if place is None else WIDTH)
