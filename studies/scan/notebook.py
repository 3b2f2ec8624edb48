"""What a notebook shows of a scan's result: a table of its classes, their triggers, and both as charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simkit.verdict import ClassResult
from studies.render.charts import Bar, Bars, Caption, first_to_look_at
from studies.render.formats import number, percent, size_words
from studies.render.grids import Grid
from studies.render.notebook import Picture, fragment

_MOST_ROWS = 20
"""Classes in the table, at most."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a result as charts and tables take them. limit: the mask size that the rule flags under."""

    classes: tuple[ClassResult, ...]
    flagged: tuple[int, ...]
    rule: str
    limit: float | None

    def bars(self) -> Bars:
        """One for each class, in order."""
        words = "" if self.limit is None else size_words(self.rule, self.limit)
        return Bars(tuple(map(self._bar, self.classes)), self.limit, words)

    def captions(self, most: int) -> list[Caption]:
        """The triggers of the classes worth looking at first, at most so many."""
        found = [one for one in self.ordered() if one.mask_size > 0][:most]
        return [Caption.of(self._bar(one), one.trigger) for one in found]

    def ordered(self) -> list[ClassResult]:
        """Flagged classes first, then those with the smallest triggers that work."""
        return sorted(self.classes, key=lambda one: first_to_look_at(self._bar(one)))

    def _bar(self, one: ClassResult) -> Bar:
        flagged = one.target_class in self.flagged
        return Bar(f"class {one.target_class}", one.mask_size, flagged=flagged, censored=one.censored)


def result_html(values: Mapping[str, Any], classes: Classes) -> str:
    """The result as HTML. values: of the result's JSON object."""
    from studies.render.pictures import data_uri, on_grey

    named = f", class {', '.join(map(str, classes.flagged))}" if classes.flagged else ""
    pictures = [
        Picture(data_uri(on_grey(one.trigger)), f"The trigger found for {one.bar.label} on grey", one.text)
        for one in classes.captions(most=6)
    ]
    return fragment(f"{values['verdict']}{named}", list(_lines(values, classes)), pictures, _grids(classes))


def _lines(values: Mapping[str, Any], classes: Classes) -> Iterator[str]:
    queries, rule = values["queries"], values["rule"]
    budget = "without a limit" if queries["budget"] is None else f"of a budget of {number(queries['budget'])}"
    yield (
        f"{number(queries['spent'])} queries {budget}, {number(queries['refused'])} refused; stopped:"
        f" {values['stopped']}; accuracy on clean images: {percent(values['clean_accuracy'])}"
    )
    score = f"score {number(values['score'])}"
    if rule["score_threshold"] is not None:
        score += f", flagged above {number(rule['score_threshold'])}"
    limit = "" if classes.limit is None else f"; flags masks {size_words(classes.rule, classes.limit)}"
    yield f"{score}; rule {rule['name']}{limit}"
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
            str(one.target_class),
            number(one.mask_size) if one.mask_size else "no trigger",
            "not tried" if not one.trials else f"{percent(one.success_rate)} of {one.trials}",
            "flagged" if one.target_class in classes.flagged else "censored" if one.censored else "",
        )
        for one in shown
    )
    more = len(classes.classes) - len(shown)
    note = "Success: on images that the search did not use. Censored: no trigger reached the required success."
    note += f" {more:,} more classes are in `classes`." if more else ""
    return (Grid("", ("class", "mask size (pixels)", "success", ""), rows, note),)
