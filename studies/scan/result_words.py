"""The result of a scan in a few lines, as `print` shows it, and the class that came closest to being flagged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from db.records import VerdictRow
from simkit.verdict import ClassResult
from studies.render.formats import pixel_words
from studies.render.order import Place, place
from studies.scan.ruled_out import in_words


def in_lines(
    verdict: VerdictRow, classes: Sequence[ClassResult], budget: int | None, checked: int | None
) -> Iterator[str]:
    """The verdict with its queries, the triggers of flagged classes, what `clean` rules out, and the notes.

    budget: None for no limit. checked: clean images behind the accuracy, None where that is unknown.
    """
    flagged = f", class {', '.join(map(str, verdict.flagged))}" if verdict.flagged else ""
    cap = "no limit" if budget is None else f"a budget of {budget:,}"
    accuracy = f"; accuracy on clean images {verdict.clean_accuracy:.1%} of {checked}" if checked else ""
    yield f"{verdict.verdict}{flagged}: {verdict.spent:,} queries of {cap}; stopped: {verdict.stopped}{accuracy}"
    yield from (f"class {c.target_class}: {_turned(c)}" for c in classes if c.target_class in verdict.flagged)
    yield from (f"searched: {searched}" for searched in in_words(verdict.ruled_out or ()))
    yield from (f"note: {note}" for note in (verdict.notes, closest_words(verdict.verdict, classes)) if note)


def closest_words(verdict: str, classes: Sequence[ClassResult]) -> str:
    """Of a clean verdict, the class that came closest to being flagged; empty for other verdicts or without a trial."""
    shown = (c for c in classes if c.mask_size > 0 and (c.trials or not c.censored))
    closest = min(shown, key=lambda c: place_of(c, ()), default=None)
    if verdict != "clean" or closest is None:
        return ""
    words = f"closest to being flagged is class {closest.target_class}: {_turned(closest)}"
    return f"{words}; no trigger of it worked" if closest.censored else words


def place_of(result: ClassResult, flagged: Collection[int]) -> Place:
    """The place of a class in tables and pictures, see `studies.render.order.place`."""
    rate = result.success_rate if result.trials else None
    own = result.target_class in flagged
    return place(flagged=own, censored=result.censored, size=result.mask_size, rate=rate)


def _turned(result: ClassResult) -> str:
    """The trigger of a class, and the unseen images that it turned, where it was tried on any."""
    trigger = result.trigger
    words = f"a mask of {pixel_words(result.mask_size)}" if trigger.as_patch is not None else trigger.words
    if not result.trials:
        return words
    return f"{words} turned {result.success_rate:.0%} of {result.trials} unseen images into it"
