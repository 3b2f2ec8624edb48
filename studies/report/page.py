"""Renders the records of a report or of a gallery as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from studies.render import formats, pictures, trigger_views
from studies.render.pages import environment
from studies.report import plot, wording
from studies.report.records import ReportData

if TYPE_CHECKING:
    from studies.report.gallery.gather import ShownZoo

_OPEN_RUNS = 4
"""A page with more runs than this shows each run folded."""

FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "number": formats.number,
        "money": formats.money_words,
        "pixels": formats.pixel_words,
        "percent": formats.percent,
        "interval": formats.interval,
        "moment": formats.moment,
        "last_part": formats.last_part,
        "standing": wording.standing,
        "flagged": wording.flagged_words,
        "reason": wording.reason,
        "searched": wording.searched_words,
        "stopped": wording.stopped_words,
        "source": formats.source_words,
        "rule": wording.rule_words,
        "limit": wording.limit_words,
        "chosen": wording.chosen_words,
        "widest": plot.widest,
        "note": wording.row_note,
        "truth": wording.truth_words,
        "lines": wording.command_lines,
        "figure": plot.figure,
        "views": trigger_views.views,
        "uri": pictures.data_uri,
        "photo": lambda image: pictures.data_uri(pictures.photo(image)),
        "added": lambda backdoor: pictures.difference(backdoor.plain, backdoor.triggered)[0],
        "times": lambda backdoor: f"x{pictures.difference(backdoor.plain, backdoor.triggered)[1]:.1f}",
        "overlap": lambda pair: pictures.data_uri(pictures.overlap_of(pair.original, pair.reversed)),
    }
)
"""The template filters of reports and galleries."""


def render(data: ReportData) -> str:
    """The page of a report; it holds no date and no random name, so equal records give equal text."""
    folded, summary = len(data.runs) > _OPEN_RUNS, wording.summary(data.runs)
    return _page("report.html.j2", data=data, folded=folded, summary=summary)


def render_gallery(zoos: Sequence[ShownZoo], each: int) -> str:
    """The page of a gallery; equal records give equal text. each: number of victims chosen per stratum."""
    return _page("gallery.html.j2", zoos=zoos, each=each)


def _page(template: str, **values: object) -> str:
    templates = environment()
    templates.filters.update(FILTERS)
    return templates.get_template(template).render(**values, version=version("b3d-simkit"))
