"""`simkit study report`: write a whole study as one page, with figures and tables beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.cli.options import ExactOption
from studies.cli.output import echo, progress_bar

File = Annotated[Path, typer.Argument(metavar="FILE", help="The study file.", show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The folder; by default as in the study file.", show_default=False),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of processes that read ledgers.")]
Each = Annotated[
    int, typer.Option("--each", metavar="K", min=1, help="Victims per trigger size or attack in the gallery.")
]

Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", metavar="URL", help="Optuna's tables; by default as in the study file.", show_default=False
    ),
]


def report_study(
    file: File,
    out: Out = None,
    exact: ExactOption = "none",
    workers: Workers = 1,
    each: Each = 2,
    storage: Storage = None,
) -> None:
    """Write the results of a study so far: curves, comparison, cost, tuning, triggers, and how to reproduce them.

    Writes one self-contained HTML page, and beside it every figure as PNG, SVG and CSV.
    Reads the study file, its result lines and its ledgers; loads no model and sends no query.
    """
    from studies.report.study.gather import ReportConfig, gather_report
    from studies.report.study.write import checked_folder, write_report
    from studies.study.study_file import StudyFile

    study = StudyFile.load(file)
    folder = checked_folder(out or study.reports)
    with progress_bar("ledgers") as progress:
        report = gather_report(study, ReportConfig(exact, workers, each, storage), progress)
    page, *others = write_report(report, folder)
    echo(f"{page}: {report.origin.done}/{report.origin.wanted} scans; {len(others)} files beside it")
    if report.no_gallery:
        echo(report.no_gallery)
