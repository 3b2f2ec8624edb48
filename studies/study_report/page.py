"""The report of a study as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.metadata import version

from studies.budget import words as curve_words
from studies.drawing import Drawing
from studies.report.render import FILTERS
from studies.study_report import words
from studies.study_report.data import StudyReport
from studies.table import words as table_words
from studies.table.page import environment
from studies.table.sections import sections


def page(report: StudyReport, drawn: Sequence[Drawing]) -> str:
    """The page. Equal records give equal text: no date, no random name."""
    made = environment("studies.study_report")
    made.filters.update(FILTERS)
    made.filters["picture"] = lambda drawing: f"data:image/svg+xml;base64,{base64.b64encode(drawing.svg).decode()}"
    return made.get_template("study.html.j2").render(
        report=report,
        origin=report.origin,
        split=report.origin.zoos[0].split,
        tiles=words.tiles(report),
        drawings=drawn,
        curves=[] if report.curves is None else curve_words.sections(report.curves),
        counted="" if report.curves is None else curve_words.counted(report.curves),
        table=[] if report.table is None else sections(report.table),
        cost=[words.cost(report)] if report.spend else [],
        made=[words.made(report.origin)],
        zoos=report.gallery,
        each=report.each,
        commands=words.commands(report),
        hashes=words.hashes(report.origin),
        reading=_reading(report),
        version=version("b3d-simkit"),
    )


def _reading(report: StudyReport) -> list[str]:
    """How to read what is there."""
    curves = () if report.curves is None else curve_words.READING
    table = () if report.table is None else (*words.SPENT, *table_words.READING)
    return [*words.MADE, *curves, *table]
