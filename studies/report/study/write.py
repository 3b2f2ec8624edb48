"""Writes the folder of a study's report: the page, every figure in three formats, and the tables as CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from db.errors import StorageError
from simkit.files import make_folder, write_atomically
from studies.render.destinations import checked_page
from studies.report.gallery.export import gallery_csv
from studies.report.gallery.picture import draw_zoo
from studies.report.study.figures import drawings
from studies.report.study.page import page
from studies.report.study.records import StudyReport
from studies.results.budget.export import pairs_csv, to_csv
from studies.results.table.export import to_csv as table_csv

PAGE = "report.html"


def checked_folder(folder: Path) -> Path:
    """`folder`, if a report may be written there: it must be missing, empty, or hold a report already.

    Raises StorageError.
    """
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise StorageError(f"{folder}: is not a folder; name a folder for the report, its figures and its tables")
    try:
        empty = next(os.scandir(folder), None) is None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read ({error.strerror}); name another folder") from error
    if not empty and not (folder / PAGE).is_file():
        raise StorageError(f"{folder}: holds other files and no {PAGE}; name an empty or a new folder with --out")
    checked_page(folder / PAGE)
    return folder


def write_report(report: StudyReport, folder: Path) -> list[Path]:
    """Render all files, then write them; returns their paths, the page first. Raises StorageError."""
    files = dict(_files(report))
    make_folder(folder)
    for name, data in files.items():
        write_atomically(folder / name, data)
    drawn = [(folder / f"triggers-{zoo.name}.{form}", zoo) for zoo in report.gallery for form in ("png", "svg")]
    for place, zoo in drawn:
        draw_zoo(place, zoo)
    return [*(folder / name for name in files), *(place for place, _ in drawn)]


def _files(report: StudyReport) -> Iterator[tuple[str, bytes]]:
    drawn = [*drawings(report), *report.tuned]
    yield PAGE, page(report, drawn).encode()
    for drawing in drawn:
        yield f"{drawing.name}.svg", drawing.svg
        yield f"{drawing.name}.png", drawing.png
        yield f"{drawing.name}.csv", drawing.csv.encode()
    if report.table is not None:
        yield "table.csv", table_csv(report.table).encode()
    if report.curves is not None:
        yield "curves.csv", to_csv(report.curves).encode()
        yield "pairs.csv", pairs_csv(report.curves).encode()
    if report.gallery:
        yield "triggers.csv", gallery_csv(report.gallery).encode()
