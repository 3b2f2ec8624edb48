"""The jinja2 environment in which every self-contained HTML page is rendered."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from studies.render.grids import Shown


def environment() -> Environment:
    """A new environment with the templates beside this file and the filters that all of them may use."""
    templates = Environment(
        loader=PackageLoader("studies.render"),
        autoescape=True,  # names of zoos, detectors and models come from users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"code": _code, "breakable": breakable}
    templates.tests["shown"] = lambda cell: isinstance(cell, Shown)
    return templates


def _code(note: str) -> Markup:
    """The note as HTML, with text between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(note))))


def breakable(name: str) -> Markup:
    """A dotted name that may be broken after its dots and underscores, and not within a word."""
    return Markup(re.sub(r"(?<=[._])(?=.)", "<wbr>", str(escape(name))))
