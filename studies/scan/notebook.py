"""A scan's result in a notebook: a table of its classes, their triggers, and charts of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simkit.verdict import ClassResult
from studies.render.charts import Bar, Bars, Caption, first_to_look_at
from studies.render.formats import number, percent, size_words
from studies.render.grids import Grid
from studies.render.notebook import Picture, fragment
from studies.scan.probability import Probability

_MOST_ROWS = 20
"""Maximum number of classes in the table."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a result, for charts and tables. limit: mask size in pixels below which the rule flags."""

    classes: tuple[ClassResult, ...]
    flagged: tuple[int, ...]
    rule: str
    limit: float | None

    def bars(self) -> Bars:
        """One bar per class, in order."""
        words = "" if self.limit is None else size_words(self.rule, self.limit)
        return Bars(tuple(map(self._bar, self.classes)), self.limit, words)

    def captions(self, most: int) -> list[Caption]:
        """The triggers of the first `most` classes in the order of `ordered`."""
        shown = [result for result in self.ordered() if result.mask_size > 0][:most]
        return [Caption.of(self._bar(result), result.trigger) for result in shown]

    def ordered(self) -> list[ClassResult]:
        """Flagged classes first, then those that came closest, see `studies.render.order.place`."""
        return sorted(self.classes, key=lambda result: first_to_look_at(self._bar(result)))

    def _bar(self, result: ClassResult) -> Bar:
        flagged = result.target_class in self.flagged
        words = "" if result.trigger.as_patch is not None else result.trigger.words
        rate = result.success_rate if result.trials else None
        return Bar(f"class {result.target_class}", result.mask_size, flagged, result.censored, words, rate)


def result_html(values: Mapping[str, Any], classes: Classes) -> str:
    """The result as HTML. values: the result's JSON object."""
    from studies.render.pictures import data_uri
    from studies.render.trigger_views import views

    named = f", class {', '.join(map(str, classes.flagged))}" if classes.flagged else ""
    pictures = [
        Picture(data_uri(view.pixels), f"The reversed trigger of {shown.bar.label} {view.words}", shown.text)
        for shown in classes.captions(most=6)
        for view in views(shown.trigger)[:1]
    ]
    return fragment(f"{values['verdict']}{named}", list(_lines(values, classes)), pictures, _grids(classes))


def _lines(values: Mapping[str, Any], classes: Classes) -> Iterator[str]:
    queries, rule = values["queries"], values["rule"]
    budget = "without a limit" if queries["budget"] is None else f"of a budget of {number(queries['budget'])}"
    of = f" of {values['checked_images']}" if values["checked_images"] else ""
    yield (
        f"{number(queries['spent'])} queries {budget}, {number(queries['refused'])} refused; stopped:"
        f" {values['stopped']}; accuracy on clean images: {percent(values['clean_accuracy'])}{of}"
    )
    score = f"score {number(values['score'])}"
    if rule["threshold"] is not None:
        score += f", flagged above {number(rule['threshold'])}"
    limit = "" if classes.limit is None else f"; flags masks {size_words(classes.rule, classes.limit)}"
    yield f"{score}; rule {rule['name']}{limit}"
    if values["probability"] is not None:
        yield f"probability of a backdoor: {Probability(**values['probability']).words}"
    if values["notes"]:
        yield values["notes"]
    if values["db"] is not None:
        yield f"run {values['run']} of {values['db']}"


def _grids(classes: Classes) -> Sequence[Grid]:
    if not classes.classes:
        return ()
    shown = classes.ordered()[:_MOST_ROWS]
    rows = tuple(
        (
            str(result.target_class),
            _size(result),
            "not tried" if not result.trials else f"{percent(result.success_rate)} of {result.trials}",
            "flagged" if result.target_class in classes.flagged else "censored" if result.censored else "",
        )
        for result in shown
    )
    more = len(classes.classes) - len(shown)
    note = (
        "Success is the rate on images that the search did not use. Censored means that no trigger reached the required"
        " success rate."
    )
    note += f" {more:,} more classes are in `classes`." if more else ""
    patches = all(result.trigger.as_patch is not None for result in shown)
    measure = "mask size (pixels)" if patches else "trigger, or mask size in pixels"
    return (Grid("", ("class", measure, "success", ""), rows, note),)


def _size(result: ClassResult) -> str:
    """The mask size of a patch, or what another trigger is."""
    if not result.mask_size:
        return "no trigger"
    return number(result.mask_size) if result.trigger.as_patch is not None else result.trigger.words
