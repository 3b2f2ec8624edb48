"""The pages as HTML: no script, no style in the page, and every name escaped."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, PackageLoader

from db.service_views import Spending
from studies.render.formats import moment, number
from studies.render.pages import environment
from studies.service.console.login import Session
from studies.service.console.views import KeyPage, Overview

_HEIGHT = 96.0
"""Pixels of the highest bar."""


class Pages:
    """Renders the pages. Safe to share among threads."""

    def __init__(self) -> None:
        self._templates = environment()
        shared = self._templates.loader
        assert shared is not None
        self._templates.loader = ChoiceLoader([PackageLoader("studies.service.console"), shared])
        self._templates.filters |= {"number": number, "moment": moment, "bars": bars, "width": width_words}
        self._templates.globals["version"] = version("b3d-simkit")

    def login(self, problem: str = "") -> str:
        """The form for the admin token. problem: why the last one was not taken."""
        return self._page("login.html.j2", None, problem=problem)

    def overview(self, shown: Overview, session: Session) -> str:
        """Keys, models, refusals and alarms."""
        return self._page("overview.html.j2", session, shown=shown)

    def key(self, shown: KeyPage, session: Session, done: str, problem: str) -> str:
        """One key. done: what was just changed. problem: why the last change was not made."""
        return self._page("key.html.j2", session, shown=shown, row=shown.row, done=done, problem=problem)

    def failed(self, title: str, problem: str, session: Session | None) -> str:
        """A page that says what went wrong."""
        return self._page("failed.html.j2", session, title=title, problem=problem)

    def style(self) -> str:
        """The style of every page: that of simkit's other pages, and what the console has besides."""
        other = files("studies.render") / "templates"
        own = files("studies.service.console") / "templates" / "console.css"
        return "\n".join(file.read_text("utf-8") for file in (other / "style.css", other / "table.css", own))

    def _page(self, template: str, session: Session | None, **values: Any) -> str:
        return self._templates.get_template(template).render(session=session, **values)


def bars(shown: Spending) -> list[dict[str, str]]:
    """The bars of a chart: place and width in percent, height and distance from the top in pixels, and words."""
    step, most = 100 / len(shown.charged), max(shown.charged)
    drawn = []
    for place, charged in enumerate(shown.charged):
        height = _HEIGHT * charged / most if most else 0.0
        drawn.append(
            {
                **{"x": f"{place * step:.2f}%", "width": f"{max(0.6 * step, step - 0.6):.2f}%"},
                **{"y": f"{_HEIGHT - height:.1f}", "height": f"{height:.1f}", "charged": number(charged)},
                "at": moment(shown.start + place * shown.seconds),
            }
        )
    return drawn


def width_words(seconds: int) -> str:
    """A length of time, as in `5 minutes`, `1 hour`, `7 days`."""
    unit, length = next(
        ((unit, length) for unit, length in (("day", 86400), ("hour", 3600)) if seconds >= length), ("minute", 60)
    )
    count = round(seconds / length)
    return f"{count} {unit}{'' if count == 1 else 's'}"
