"""A report's records as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from studies.report import figures, pictures, words
from studies.report.data import ReportData

_OPEN_RUNS = 4
"""With more runs than this, each one is folded."""

_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "number": words.number,
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
        "overlap": lambda pair: pictures.data_uri(pictures.overlap_of(pair.original, pair.found)),
    }
)


def render(data: ReportData) -> str:
    """The page. Equal records give equal text: no date of its own, no random name."""
    environment = Environment(
        loader=PackageLoader("studies.report"),
        autoescape=True,  # names and notes come from users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    page = environment.get_template("report.html.j2")
    return page.render(
        data=data, folded=len(data.runs) > _OPEN_RUNS, summary=words.summary(data.runs), version=version("b3d-simkit")
    )
