"""Records as HTML pages that need nothing but themselves: the one environment of all templates."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from studies.render.grids import Shown


def environment() -> Environment:
    """What every page is rendered in: the templates beside this file, with the filters that all of them may use."""
    made = Environment(
        loader=PackageLoader("studies.render"),
        autoescape=True,  # names of zoos, detectors and models come from users
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
