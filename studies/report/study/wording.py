"""The text of a study's report: summary tiles, tables of cost, zoos and machines, and how to reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from studies.render import formats
from studies.render.formats import money_words, number
from studies.render.grids import Grid, Section
from studies.report.study.records import Origin, Spend, StudyReport

_HOUR = 3600.0

MADE = (
    "This report is made from the study file, its result lines and its ledgers only: no model is loaded and no query is"
    " sent. The same files give the same page.",
)
"""Notes for every report."""

SPENT = (
    "Cost is queries times the price, where that is stated with its currency: in the cost table for the scans as they"
    " ran, and in the curves for a scan with that budget.",
    "Seconds are wall time on the machines named above, which may have run other work at the same time; they indicate"
    " an order of magnitude.",
)
"""Notes on the cost of scans."""


def tiles(report: StudyReport) -> list[tuple[str, str]]:
    """The study in a few numbers, each with its name."""
    origin, spends = report.origin, report.spend
    scans = number(origin.done) if origin.done == origin.wanted else f"{number(origin.done)}/{number(origin.wanted)}"
    victims = ("victims", number(sum(zoo.models for zoo in origin.zoos)))
    if not spends:
        return [victims, ("tunings", number(len(report.tunings)))]
    named = [
        ("finished scans", scans),
        victims,
        ("queries", formats.amount(sum(spend.queries.total for spend in spends))),
        ("hours of scanning", formats.amount(round(sum(spend.seconds.total for spend in spends) / _HOUR, 2))),
    ]
    return named + ([("cost", money)] if (money := _total(spends)) else [])


def _total(spends: Sequence[Spend]) -> str:
    """The cost of all scans, as in `12.40 USD`, each currency by itself; empty where no price is stated."""
    totals: dict[str, float] = {}
    for spend in spends:
        if spend.price is not None:
            totals[spend.price.currency] = totals.get(spend.price.currency, 0.0) + spend.price.of(spend.queries.total)
    return " + ".join(money_words(value, currency) for currency, value in totals.items())


def cost(report: StudyReport) -> Section:
    """The queries, seconds and money that the scans took."""
    priced = any(spend.price is not None for spend in report.spend)
    columns = ("method", "scans", "queries (median / p90)", "total", "seconds (median)", "hours (total)")
    money = ("cost per scan (mean)", "cost (total)") if priced else ()
    rows = tuple((*_spent(spend), *(_money(spend) if priced else ())) for spend in report.spend)
    return Section("Cost", "", (Grid("Cost of the scans, by method", (*columns, *money), rows),))


def _spent(spend: Spend) -> tuple[str, ...]:
    queries = formats.spread_words(spend.queries) if spend.queries.total else formats.NONE
    total = formats.amount(spend.queries.total) if spend.queries.total else formats.NONE
    seconds = spend.seconds
    hours = formats.amount(round(seconds.total / _HOUR, 2))
    return spend.label, number(spend.scans), queries, total, formats.amount(seconds.median), hours


def _money(spend: Spend) -> tuple[str, str]:
    if spend.money is None or spend.price is None:
        return formats.NONE, formats.NONE
    currency = spend.price.currency
    return money_words(spend.money / spend.scans, currency), money_words(spend.money, currency)


def made(origin: Origin) -> Section:
    """The zoos and the environments of the scans."""
    zoos = tuple(
        (zoo.name, zoo.split, f"{zoo.models}/{zoo.of}", zoo.data, zoo.manifest[:16], zoo.images[:16])
        for zoo in origin.zoos
    )
    columns = ("zoo", "split", "victims", "images", "manifest SHA-256", "images SHA-256")
    names = tuple(dict.fromkeys(name for place in origin.made for name, _ in place.environment))
    rows = tuple(
        (number(place.scans), *(dict(place.environment).get(name, formats.NONE) for name in names))
        for place in origin.made
    )
    machines = (Grid("Environments of the scans", ("scans", *names), rows),) if rows else ()
    return Section("Zoos, machines and versions", "", (Grid("Zoos", columns, zoos), *machines))


def commands(report: StudyReport) -> str:
    """The shell commands that reproduce the study and its report."""
    file = shlex.quote(report.origin.file)
    run = [f"simkit study run {file}"] if report.origin.wanted else []
    tune = [f"simkit study tune {file} {options}" for options in report.tunings]
    return "\n".join([*run, *tune, f"simkit study report {file}"])


def hashes(origin: Origin) -> tuple[tuple[str, str], ...]:
    """The SHA-256 of everything that the page is made from."""
    return (
        (f"{origin.file} (whole file)", origin.sha256),
        ("settings of the scans", origin.hash),
        ("result lines", origin.results),
    )
