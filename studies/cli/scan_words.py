"""A scan's result in words: the verdict with its reason, the classes, the score beside its threshold, and the cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import typer

from studies.cli.output import print_table

if TYPE_CHECKING:
    from studies.scan.prepare import Prepared
    from studies.scan.result import ScanResult

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "backdoored": "a small trigger turns unseen images into the flagged class",
        "clean": "no class has a trigger that is both flagged and confirmed",
        "undecided": "the budget ran out before a verdict; give a larger --budget",
        "invalid": "the model does not answer like a trained classifier of these images",
    }
)
"""The reason for a verdict by its name."""

_SHOWN = 10
"""Classes in the table, at most."""


def show(result: ScanResult, prepared: Prepared, stored: int = 0) -> None:
    """Print the verdict in words, the classes with the smallest masks, the cost, and the ledger.

    stored: queries of this run that the ledger held before.
    """
    from studies.scan.ruled_out import in_words

    flagged = f", class {', '.join(map(str, result.flagged))}" if result.flagged else ""
    worded = result.verdict in ("backdoored", "clean") or result.stopped == "budget"
    typer.echo(
        f"{result.verdict}{flagged}: {_reason(result, prepared) if worded or not result.notes else result.notes}"
    )
    if result.probability is not None:
        typer.echo(f"probability of a backdoor: {result.probability.words}")
    for searched in in_words(result.ruled_out or ()):
        typer.echo(f"searched: {searched}")
    for note in filter(None, (result.notes if worded else "", closest_words(result))):
        typer.echo(f"note: {note}")
    if any(c.mask_size > 0 for c in result.classes):
        _show_classes(result)
    typer.echo(_score_words(result))
    for line in _cost_lines(result, stored):
        typer.echo(line)


def closest_words(result: ScanResult) -> str:
    """See `studies.scan.result_words.closest_words`."""
    from studies.scan import result_words

    return result_words.closest_words(result.verdict, result.classes)


def _reason(result: ScanResult, prepared: Prepared) -> str:
    """The reason for the verdict: for `clean`, what was searched; for a budget that is too small, the least one."""
    from simkit.search.costs import check_price

    preset = prepared.preset
    if result.verdict == "clean":
        if preset.only_sought is not None:
            return f"no {preset.only_sought} is both flagged and confirmed; other triggers were not searched for"
        return f"{_stages(prepared)}{WORDS['clean']}"
    others = [result.classes[c].trigger for c in result.flagged if c < len(result.classes)]
    if result.verdict == "backdoored" and (words := [t.words for t in others if t.as_patch is None]):
        return f"{' and '.join(words)} turned unseen images into the flagged class"
    price = check_price(prepared.images, preset.driver)
    if result.verdict == "undecided" and result.budget is not None and result.budget < price:
        what = "images" if prepared.images.synthesis else "first check"
        return f"the budget does not cover the {what}; give --budget {price} or more"
    return WORDS[result.verdict] + (_whole_price(result, prepared, price) if result.verdict == "undecided" else "")


def _stages(prepared: Prepared) -> str:
    """The searches of a scan in stages, which all ran to their end, as the start of a sentence; empty for one stage."""
    *first, last = prepared.stage_names
    return f"{', '.join(first)} and {last} ran to their end: " if first else ""


def _whole_price(result: ScanResult, prepared: Prepared, price: int) -> str:
    """The queries of a whole scan, where they follow from the settings and the budget was smaller."""
    from simkit.search.costs import full_length

    length = full_length(prepared.preset, len(result.classes))
    if length is None or result.budget is None or result.budget >= length + price:
        return ""
    return (
        f": with {prepared.config.preset_name}, a model of {len(result.classes)} classes takes up to "
        f"{length + price:,} queries where nothing is flagged"
    )


def _show_classes(result: ScanResult) -> None:
    from studies.scan.result_words import place_of

    ordered = sorted(result.classes, key=lambda c: place_of(c, result.flagged))
    rows = [vars(c) | {"class": c.target_class, "trigger": c.trigger.words} for c in ordered]
    measure = "mask_size" if all(c.trigger.as_patch is not None for c in result.classes) else "trigger"
    print_table(rows[:_SHOWN], ("class", measure, "success_rate", "censored"))
    if len(rows) > _SHOWN:
        typer.echo(f"and {len(rows) - _SHOWN} more classes")
    first = "flagged classes, then those" if result.flagged else "classes"
    order = f"Order: {first} whose trigger works, the smallest mask (in pixels) first"
    if any(c.censored for c in result.classes):
        order += (
            "; then censored ones, where no trigger worked, the highest success rate first and those never tried last: "
            "the size is that of the largest that failed"
        )
    typer.echo("Flagged classes come first." if _is_of_families(result) else f"{order}.")


def _score_words(result: ScanResult) -> str:
    """The score with what it is compared with, the masks that the rule flags and the smallest, and the threshold."""
    from studies.render.formats import source_words

    score = "score -" if result.score is None else f"score {result.score:.3g}"
    if result.threshold is not None:
        score += f" (a class is flagged above {result.threshold:.3g})"
    flags = f"rule {result.rule}"
    if _is_of_families(result):
        return f"{score}; {flags} flags what is within the limit of its family and passes the family's test"
    if (limit := _limit_words(result)) is not None:
        flags += f" flags working masks {limit}; {_smallest(result)}"
    setting = "" if result.rule_limit is None else f"; limit {result.rule_limit:g}: "
    setting += source_words(result.threshold_source) if setting else ""
    return f"{score}; {flags}{setting}"


def _is_of_families(result: ScanResult) -> bool:
    """Whether the rule takes triggers of any size, since each family has a limit of its own."""
    return result.rule == "small_share" and result.rule_limit is not None and result.rule_limit >= 1.0


def _limit_words(result: ScanResult) -> str | None:
    from studies.render.formats import pixel_words, size_words

    if result.size_limit is not None:
        return size_words(result.rule, result.size_limit)
    if result.rule == "small_share" and result.rule_limit is not None and result.classes:
        _, height, width = result.classes[0].trigger.image_shape  # the rule takes the share of the image's pixels
        return f"of at most {pixel_words(max(int(result.rule_limit * height * width), 1))}"
    return None


def _smallest(result: ScanResult) -> str:
    patches = (c for c in result.classes if c.trigger.as_patch is not None)
    smallest = min((c.mask_size for c in patches if not c.censored), default=None)
    return "none works here" if smallest is None else f"the smallest here has {_pixels(smallest)}"


def _charged(result: ScanResult) -> Iterator[str]:
    """The time and the money that the service would have taken, as far as its spec states them."""
    from studies.render.formats import money_words

    if result.api_seconds is not None:
        yield f"simulated API time {result.api_seconds:,.1f} s"
    if result.cost is not None and result.currency is not None:
        yield f"cost {money_words(result.cost, result.currency)}"
    elif result.cost is not None:
        yield "no cost is shown, since the oracle spec states a price without its currency"


def _pixels(size: float) -> str:
    from studies.render.formats import pixel_words

    return pixel_words(size)


def _cost_lines(result: ScanResult, stored: int) -> Iterator[str]:
    """Queries, accuracy, time and price, and the files. stored: see `show`."""
    cap = "no limit" if result.budget is None else f"a budget of {result.budget:,}"
    earlier = f" ({stored:,} of them taken from the ledger)" if stored else ""
    accuracy = f"{result.clean_accuracy:.1%} of {result.checked_images}" if result.checked_images else "unknown"
    yield (
        f"{result.spent:,} queries of {cap}{earlier}, {result.refused:,} refused, {result.seconds:.1f} s; stopped: "
        f"{result.stopped}; accuracy on clean images {accuracy}"
    )
    if charged := "; ".join(_charged(result)):
        yield charged
    if result.triggers is not None:
        yield f"triggers: {' '.join(map(str, (result.triggers.npz, *result.triggers.png)))}"
    yield f"ledger: {result.db}, run {result.run}"
