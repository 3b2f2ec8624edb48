"""Renders the report of a study as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.metadata import version

from studies.render.figures import Drawing
from studies.render.pages import environment
from studies.report.page import FILTERS
from studies.report.study import wording
from studies.report.study.records import StudyReport
from studies.results.budget import wording as budget_wording
from studies.results.table import wording as table_wording
from studies.results.table.layout import sections


def page(report: StudyReport, drawn: Sequence[Drawing]) -> str:
    """The page; it holds no date and no random name, so equal records give equal text."""
    templates = environment()
    templates.filters.update(FILTERS)
    templates.filters["picture"] = lambda drawing: f"data:image/svg+xml;base64,{base64.b64encode(drawing.svg).decode()}"
    return templates.get_template("study.html.j2").render(
        report=report,
        origin=report.origin,
        split=report.origin.zoos[0].split,
        tiles=wording.tiles(report),
        drawings=drawn,
        curves=[] if report.curves is None else budget_wording.sections(report.curves),
        counted="" if report.curves is None else budget_wording.counted(report.curves),
        table=[] if report.table is None else sections(report.table),
        cost=[wording.cost(report)] if report.spend else [],
        made=[wording.made(report.origin)],
        zoos=report.gallery,
        each=report.each,
        commands=wording.commands(report),
        hashes=wording.hashes(report.origin),
        reading=_reading(report),
        version=version("b3d-simkit"),
    )


def _reading(report: StudyReport) -> list[str]:
    """The notes on how to read the parts that the report has."""
    curves = () if report.curves is None else budget_wording.READING
    table = () if report.table is None else (*wording.SPENT, *table_wording.READING)
    return list(dict.fromkeys((*wording.MADE, *curves, *table)))
