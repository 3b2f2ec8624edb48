"""A table as one HTML page that needs nothing but itself, in the style of a report."""

from __future__ import annotations

import re
from importlib.metadata import version

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from studies.table import words
from studies.table.data import Table
from studies.table.sections import Shown, sections


def page(table: Table) -> str:
    """The page. Equal records give equal text: no date, no random name."""
    return (
        environment()
        .get_template("table.html.j2")
        .render(
            table=table,
            sections=sections(table),
            reading=words.READING,
            left_out=words.left_out_words(table.split, table.left_out),
            version=version("b3d-simkit"),
        )
    )


def environment(*packages: str) -> Environment:
    """What pages of tables are made in, with the templates of these packages besides."""
    places = [*packages, "studies.table", "studies.report"]  # the style is of reports
    made = Environment(
        loader=ChoiceLoader(list(map(PackageLoader, places))),
        autoescape=True,  # names of zoos and detectors come from users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = _code
    made.tests["shown"] = lambda cell: isinstance(cell, Shown)
    return made


def _code(note: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(note))))
