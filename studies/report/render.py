"""Records as one HTML page that needs nothing but itself: a report's, a gallery's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from studies.report import figures, pictures, words
from studies.report.data import ReportData
from studies.report.gallery import ShownZoo

_OPEN_RUNS = 4
"""With more runs than this, each one is folded."""

FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "number": words.number,
        "pixels": lambda size: f"{words.number(size)} {'pixel' if size == 1 else 'pixels'}",
        "percent": words.percent,
        "interval": words.interval,
        "moment": words.moment,
        "last_part": words.last_part,
        "standing": words.standing,
        "flagged": words.flagged_words,
        "reason": words.reason,
        "stopped": words.stopped_words,
        "rule": words.rule_words,
        "limit": words.limit_words,
        "chosen": words.chosen_words,
        "widest": figures.widest,
        "note": words.row_note,
        "truth": words.truth_words,
        "lines": words.command_lines,
        "figure": figures.figure,
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
    folded, summary = len(data.runs) > _OPEN_RUNS, words.summary(data.runs)
    return _page("report.html.j2", data=data, folded=folded, summary=summary)


def render_gallery(zoos: Sequence[ShownZoo], each: int) -> str:
    """The gallery's page. each: victims of a stratum that were chosen. Equal records give equal text."""
    return _page("gallery.html.j2", zoos=zoos, each=each)


def _page(template: str, **told: object) -> str:
    environment = Environment(
        loader=PackageLoader("studies.report"),
        autoescape=True,  # names and notes come from users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template(template).render(**told, version=version("b3d-simkit"))
