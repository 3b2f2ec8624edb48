"""Records as one HTML page that needs nothing but itself: a report's, a gallery's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from studies.render import formats, pictures
from studies.render.pages import environment
from studies.report import plot, wording
from studies.report.gallery.gather import ShownZoo
from studies.report.records import ReportData

_OPEN_RUNS = 4
"""With more runs than this, each one is folded."""

FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "number": formats.number,
        "pixels": lambda size: f"{formats.number(size)} {'pixel' if size == 1 else 'pixels'}",
        "percent": formats.percent,
        "interval": formats.interval,
        "moment": formats.moment,
        "last_part": formats.last_part,
        "standing": wording.standing,
        "flagged": wording.flagged_words,
        "reason": wording.reason,
        "stopped": wording.stopped_words,
        "rule": wording.rule_words,
        "limit": wording.limit_words,
        "chosen": wording.chosen_words,
        "widest": plot.widest,
        "note": wording.row_note,
        "truth": wording.truth_words,
        "lines": wording.command_lines,
        "figure": plot.figure,
        "on_grey": lambda trigger: pictures.data_uri(pictures.on_grey(trigger)),
        "mask": lambda trigger: pictures.data_uri(pictures.mask_of(trigger)),
        "photo": lambda image: pictures.data_uri(pictures.photo(image)),
        "added": lambda backdoor: pictures.difference(backdoor.plain, backdoor.triggered)[0],
        "times": lambda backdoor: f"x{pictures.difference(backdoor.plain, backdoor.triggered)[1]:.1f}",
        "overlap": lambda pair: pictures.data_uri(pictures.overlap_of(pair.original, pair.found)),
    }
)
"""What pages of reports and galleries make of records."""


def render(data: ReportData) -> str:
    """The page. Equal records give equal text: no date of its own, no random name."""
    folded, summary = len(data.runs) > _OPEN_RUNS, wording.summary(data.runs)
    return _page("report.html.j2", data=data, folded=folded, summary=summary)


def render_gallery(zoos: Sequence[ShownZoo], each: int) -> str:
    """The gallery's page. each: victims of a stratum that were chosen. Equal records give equal text."""
    return _page("gallery.html.j2", zoos=zoos, each=each)


def _page(template: str, **told: object) -> str:
    made = environment()
    made.filters.update(FILTERS)
    return made.get_template(template).render(**told, version=version("b3d-simkit"))
