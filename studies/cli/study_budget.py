"""`simkit study budget`: lines of results as curves over the query budget."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from studies.cli.options import WIDTH, ExactOption, Files, Format, FormatOption, OutFile, SplitOption, Zoos, write_out
from studies.cli.output import progress_bar, warnings_in_a_line

if TYPE_CHECKING:
    from studies.results.budget.records import BudgetStudy

Undecided: TypeAlias = Literal["wrong", "clean"]

Detectors = Annotated[
    list[str] | None, typer.Option("--detector", metavar="NAME", help="Only this one; may be given again.")
]
Budgets = Annotated[
    str | None,
    typer.Option("--budgets", metavar="Q,Q,...", help="Rows of the table; by default 1, 2, 3, 5 of every decade."),
]
Pool = Annotated[bool, typer.Option("--pool", help="All zoos as one; else each has curves of its own.")]
UndecidedAs = Annotated[
    Undecided,
    typer.Option("--undecided-as", help="What a scan counts as that has no verdict within the budget."),
]
By = Annotated[
    Literal["service"] | None,
    typer.Option("--by", help="Of each detector a table over services, and a panel a service in the figure."),
]
Price = Annotated[
    float | None,
    typer.Option("--price", metavar="USD", help="Of a thousand queries; by default what the services state."),
]
Ledgers = Annotated[
    list[Path] | None,
    typer.Option("--ledgers", metavar="DIR", help="Where the ledgers of the scans are, for what lines do not tell."),
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="The images of those scans, by default where they were.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that read ledgers.")]
MeasureOption = Annotated[
    Literal["accuracy", "tpr", "fpr", "undecided", "auroc"],
    typer.Option("--measure", help="What a figure by service shows."),
]
FigureFile = Annotated[
    Path | None, typer.Option("--figure", metavar="PATH", help="Draw the curves here: .png or .svg.")
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
    """Tell how many queries buy which verdict: accuracy, TPR, FPR, AUROC and cost by budget, detector and service.

    A verdict stands at every budget of at least the queries that it took; at a smaller one the scan was undecided. So
    one study of scans with a large budget tells of all smaller ones. Reads lines, and ledgers if given, never a model.
    """
    from simkit.errors import ConfigError
    from studies.render.destinations import checked_place, format_of
    from studies.results.budget.figure import checked_figure, draw
    from studies.results.budget.gather import BudgetConfig, gather_budget
    from studies.results.budget.matching_ledgers import Ledgers as Kept
    from studies.scan.overrides import whole_numbers

    place = None if out is None else checked_place(out, files)
    form = wanted or format_of(out)
    picture = None if figure is None else checked_figure(figure, files)
    asked = whole_numbers("--budgets", budgets)
    if exact != "none" and not ledgers:
        raise ConfigError("--exact reads ledgers; name their folder with --ledgers")
    chosen = BudgetConfig(split, tuple(zoos or ()), tuple(detectors or ()), asked, pool, undecided_as)
    kept = Kept(tuple(ledgers or ()), exact, data, workers)
    config = replace(chosen, by_service=by is not None, price=price, ledgers=kept)
    with warnings_in_a_line(), progress_bar("ledgers") as progress:
        study = gather_budget(files, config, progress)
    said = _rendered(study, form, place)
    if picture is not None:
        write_out(picture[0], draw(study, picture[1], measure), aside=place is None)  # stdout may be JSON
    if place is None:
        typer.echo(said, nl=False)
    else:
        write_out(place, said.encode())


def _rendered(study: BudgetStudy, form: Format, place: Path | None) -> str:
    from studies.results.budget import export, views

    if form == "html":
        return views.page(study)
    if form == "csv":
        return export.to_csv(study)
    if form == "json":
        return json.dumps(export.to_json(study), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return views.text(study, shutil.get_terminal_size((WIDTH, 0)).columns if place is None else WIDTH)
