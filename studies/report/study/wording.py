"""What the report of a study says in words: tiles, and grids of cost, zoos, machines, and how to repeat it."""

from __future__ import annotations

import shlex

from studies.render import formats
from studies.render.formats import money_words, number
from studies.render.grids import Grid, Section
from studies.report.study.records import Origin, Spend, StudyReport

_HOUR = 3600.0

MADE = (
    "A report is made from the study file, its lines and its ledgers alone: no model is read and nothing is asked. The"
    " same files give the same page.",
)
"""How to read any report."""

SPENT = (
    "Money is queries times the price, for the scans as they ran, and at a budget for a scan that was given no more.",
    "Seconds are wall time on the machines named above, with other work beside it: good for orders of magnitude.",
)
"""How to read what scans took."""


def tiles(report: StudyReport) -> list[tuple[str, str]]:
    """The study in a few figures."""
    origin, spends = report.origin, report.spend
    scans = number(origin.done) if origin.done == origin.wanted else f"{number(origin.done)}/{number(origin.wanted)}"
    money = [spend.money for spend in spends if spend.money is not None]
    victims = ("victims", number(sum(zoo.models for zoo in origin.zoos)))
    if not spends:
        return [victims, ("tunings", number(len(report.tunings)))]
    told = [
        ("scans done", scans),
        victims,
        ("queries", formats.amount(sum(spend.queries.total for spend in spends))),
        ("hours of scanning", formats.amount(round(sum(spend.seconds.total for spend in spends) / _HOUR, 1))),
    ]
    return told + ([("money", money_words(sum(money)))] if money else [])


def cost(report: StudyReport) -> Section:
    """What the scans took."""
    priced = any(spend.price is not None for spend in report.spend)
    columns = ("method", "scans", "queries (median / p90)", "in all", "seconds (median)", "hours in all")
    money = ("money a scan, mean", "money in all") if priced else ()
    rows = tuple((*_spent(spend), *(_money(spend) if priced else ())) for spend in report.spend)
    return Section("Cost", "", (Grid("What the scans took", (*columns, *money), rows),))


def _spent(spend: Spend) -> tuple[str, ...]:
    queries = formats.spread_words(spend.queries) if spend.queries.total else formats.NONE
    total = formats.amount(spend.queries.total) if spend.queries.total else formats.NONE
    seconds = spend.seconds
    hours = formats.amount(round(seconds.total / _HOUR, 2))
    return spend.label, number(spend.scans), queries, total, formats.amount(seconds.median), hours


def _money(spend: Spend) -> tuple[str, str]:
    if spend.money is None:
        return formats.NONE, formats.NONE
    return money_words(spend.money / spend.scans), money_words(spend.money)


def made(origin: Origin) -> Section:
    """Zoos and machines."""
    zoos = tuple(
        (zoo.name, zoo.split, f"{zoo.models}/{zoo.of}", zoo.data, zoo.manifest[:16], zoo.images[:16])
        for zoo in origin.zoos
    )
    columns = ("zoo", "split", "victims", "images", "manifest SHA-256", "images SHA-256")
    names = tuple(dict.fromkeys(name for one in origin.made for name, _ in one.told))
    rows = tuple(
        (number(one.scans), *(dict(one.told).get(name, formats.NONE) for name in names)) for one in origin.made
    )
    machines = (Grid("Scanned with", ("scans", *names), rows),) if rows else ()
    return Section("Zoos, machines and versions", "", (Grid("Zoos", columns, zoos), *machines))


def commands(report: StudyReport) -> str:
    """The shell commands that make the study again, and this page."""
    file = shlex.quote(report.origin.file)
    run = [f"simkit study run {file}"] if report.origin.wanted else []
    tune = [f"simkit study tune {file} {options}" for options in report.tunings]
    return "\n".join([*run, *tune, f"simkit study report {file}"])


def hashes(origin: Origin) -> tuple[tuple[str, str], ...]:
    """What the page is made of, by SHA-256."""
    return (
        (f"{origin.file} (the file)", origin.sha256),
        ("what it says of scans", origin.hash),
        ("the lines of results", origin.results),
    )
