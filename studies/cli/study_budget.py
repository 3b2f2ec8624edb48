"""`simkit study budget`: show result lines as curves over the query budget."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from studies.cli.options import (
    WIDTH,
    ExactOption,
    Files,
    Format,
    FormatOption,
    OutFile,
    Pool,
    SplitOption,
    Zoos,
    write_out,
)
from studies.cli.output import echo, progress_bar, warnings_in_a_line

if TYPE_CHECKING:
    from studies.results.budget.records import BudgetStudy

Undecided: TypeAlias = Literal["wrong", "clean"]

Detectors = Annotated[
    list[str] | None, typer.Option("--detector", metavar="NAME", help="Show only this detector; may be repeated.")
]
Budgets = Annotated[
    str | None,
    typer.Option("--budgets", metavar="Q,Q,...", help="Budgets to tabulate; by default 1, 2, 3 and 5 of every decade."),
]
UndecidedAs = Annotated[
    Undecided,
    typer.Option("--undecided-as", help="What a scan without a verdict within the budget counts as."),
]
By = Annotated[
    Literal["service"] | None,
    typer.Option("--by", help="Show a table of services per detector, and one panel per service in the figure."),
]
Price = Annotated[
    str | None,
    typer.Option(
        "--price", metavar="2.5EUR", help="Price of 1000 queries, and its currency; by default what the services state."
    ),
]
Ledgers = Annotated[
    list[Path] | None,
    typer.Option(
        "--ledgers", metavar="DIR", help="Folder with the scans' ledgers, for what result lines lack; may be repeated."
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help="The images of those scans; by default as named in their ledgers."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of processes that read ledgers.")]
MeasureOption = Annotated[
    Literal["accuracy", "tpr", "fpr", "undecided", "auroc"],
    typer.Option("--measure", help="The measure that a figure by service shows."),
]
FigureFile = Annotated[
    Path | None, typer.Option("--figure", metavar="PATH", help="Draw the curves into this .png or .svg file.")
]


def show_budget(  # noqa: PLR0913 (the options are the command's interface)
    files: Files,
    wanted: FormatOption = None,
    out: OutFile = None,
    zoos: Zoos = None,
    split: SplitOption = None,
    detectors: Detectors = None,
    budgets: Budgets = None,
    pool: Pool = False,
    undecided_as: UndecidedAs = "wrong",
    by: By = None,
    price: Price = None,
    ledgers: Ledgers = None,
    exact: ExactOption = "none",
    data: Data = None,
    workers: Workers = 1,
    figure: FigureFile = None,
    measure: MeasureOption = "accuracy",
) -> None:
    """Show detection accuracy, TPR, FPR, AUROC and cost by query budget, detector and service.

    A verdict holds at every budget of at least the queries that it took; at a smaller budget the scan is undecided.
    So one study with a large budget covers all smaller ones.
    Reads result lines, and ledgers if given, but no model.
    """
    from simkit.errors import ConfigError
    from studies.render.destinations import checked_place, format_of
    from studies.results.budget.figure import checked_figure, draw
    from studies.results.budget.gather import BudgetConfig, gather_budget
    from studies.results.budget.matching_ledgers import Ledgers as Kept
    from studies.scan.overrides import whole_numbers
    from studies.scan.price import Price as Stated

    place = None if out is None else checked_place(out, files)
    form = wanted or format_of(out)
    picture = None if figure is None else checked_figure(figure, files)
    asked = whole_numbers("--budgets", budgets)
    if exact != "none" and not ledgers:
        raise ConfigError("--exact needs the scans' ledgers; name their folder with --ledgers")
    charged = None if price is None else Stated.parse(price)
    chosen = BudgetConfig(split, tuple(zoos or ()), tuple(detectors or ()), asked, pool, undecided_as)
    kept = Kept(tuple(ledgers or ()), exact, data, workers)
    config = replace(chosen, by_service=by is not None, price=charged, ledgers=kept)
    with warnings_in_a_line(), progress_bar("ledgers") as progress:
        study = gather_budget(files, config, progress)
    output = _rendered(study, form, place)
    if picture is not None:
        write_out(picture[0], draw(study, picture[1], measure), aside=place is None)  # stdout may be JSON
    if place is None:
        echo(output, nl=False)
    else:
        write_out(place, output.encode())


def _rendered(study: BudgetStudy, form: Format, place: Path | None) -> str:
    from studies.results.budget import export, views

    if form == "html":
        return views.page(study)
    if form == "csv":
        return export.to_csv(study)
    if form == "json":
        return json.dumps(export.to_json(study), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return views.text(study, shutil.get_terminal_size((WIDTH, 0)).columns if place is None else WIDTH)
