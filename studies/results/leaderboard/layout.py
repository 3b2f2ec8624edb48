"""Lays out a leaderboard's records as grids, the same for a terminal, Markdown and a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studies.render import formats
from studies.render.grids import Grid, Section, Shown
from studies.results.budget.wording import service_words
from studies.results.leaderboard.records import Board, Entry, Leaderboard
from studies.results.table import wording
from studies.results.table.layout import budget_words
from studies.results.table.records import Key
from studies.statistics import Share

TITLE, SETTINGS = "Leaderboard", "Settings"

_HASH_SHOWN = 8

_COLUMNS = (
    *("detector", "service", "budget", "right", "TPR", "FPR", "target"),
    *("queries, backdoored", "queries, clean", "settings"),
)

READING = (
    "`right` counts correct verdicts, backdoored or clean; a scan without a verdict (undecided or invalid) is"
    " wrong, but no false positive. `TPR` counts verdicts backdoored among backdoored victims, `FPR` among clean"
    " ones. Brackets give the 95 % Wilson interval in per cent.",
    "`target` counts, of the detected victims, those of which a target class is flagged.",
    "Queries are the median over scans of all that were charged, those that refine a found trigger included. A"
    " white-box detector reads the weights and sends none.",
    "Rows are sorted by service, from all scores to label-only, and within a service by the lower end of the"
    " interval of `right`, so that few victims cannot lead; then by mean queries. Two rows may be of different"
    " victims of a zoo; the denominators say of how many. `simkit study table` compares detectors on the same"
    " victims, with McNemar's test.",
    "Rows of other budgets, services or settings are never pooled. `settings` is the beginning of the SHA-256 of"
    " all settings of a scan; below all zoos are those that differ from today's defaults. Rows without today's"
    " defaults have a table of their own: their settings were chosen, or were the defaults when the lines were"
    " written.",
    "A zoo has no victim whose backdoor did not implant: such models are replaced before anything is scanned.",
)
"""How to read the figures."""


def about(board: Leaderboard) -> str:
    """What is shown and what is not, in a few sentences."""
    zoos = len({one.zoo for one in board.boards})
    said = f"{board.lines:,} result lines of the split {board.split}, zoos: {zoos}."
    return " ".join(filter(None, (said, formats.left_out_words(board.split, board.left_out))))


def files(board: Leaderboard) -> str:
    """Which files were read, and which of them hold no result lines."""
    others = f" Files of other measurements, left out: {', '.join(board.others)}." if board.others else ""
    return f"The lines are from {', '.join(board.files)}.{others}"


@dataclass(frozen=True)
class Setting:
    """The settings of one method. digest: the beginning of their hash. method, made_by: in words.

    others: that there is nothing else than today's defaults, or what the lines lack. changed: see
    `studies.results.table.changed`.
    """

    digest: str
    method: str
    made_by: str
    changed: tuple[tuple[str, str], ...]
    others: str


def settings(board: Leaderboard) -> list[Setting]:
    """Every method of the leaderboard once, by detector and hash."""
    held: dict[Key, list[Entry]] = defaultdict(list)
    for one in board.boards:
        for entry in one.entries:
            held[entry.cell.method.key].append(entry)
    return [_setting(held[key]) for key in sorted(held)]


_FEW = 8
"""Up to so many settings each stands by itself."""


def tables(changed: Sequence[tuple[str, str]]) -> list[str]:
    """Settings in words; many of them by their tables, as in `search.{steps=120, sigma=0.5}`."""
    if len(changed) <= _FEW:
        return [f"{name}={value}" for name, value in changed]
    by_table: dict[str, list[str]] = defaultdict(list)
    for name, value in changed:
        table, _, last = name.rpartition(".")
        by_table[table].append(f"{last}={value}")
    return [f"{table}.{{{', '.join(held)}}}" if table else ", ".join(held) for table, held in by_table.items()]


def _lacks(entry: Entry) -> str:
    """What a line lacks, whole tables by their name where there is much of it."""
    names = entry.lacks if len(entry.lacks) <= _FEW else dict.fromkeys(n.rpartition(".")[0] or n for n in entry.lacks)
    return f"without {', '.join(names)}" if names else ""


def _setting(entries: Sequence[Entry]) -> Setting:
    first, made_by = entries[0], sorted({made for entry in entries for made in entry.made_by})
    others = "" if first.cell.method.changed or not first.default else "today's defaults"
    others = others or _lacks(first)
    return Setting(_hash(first), ", ".join(_names(first)), "; ".join(made_by), first.cell.method.changed, others)


def sections(board: Leaderboard) -> list[Section]:
    """All sections in reading order."""
    return [*results(board), _settings(board)]


def results(board: Leaderboard) -> list[Section]:
    """The sections with figures."""
    return [*_overview(board), *map(_board, board.boards)]


def _overview(board: Leaderboard) -> Iterator[Section]:
    """The share of correct verdicts of every detector with its defaults, on every zoo where it has a row."""
    held = [(one, entry) for one in board.boards for entry in one.entries if entry.default]
    if len({one.title for one, _ in held}) < 2:
        return
    zoos = list(dict.fromkeys(one.title for one, _ in held))
    rows: dict[tuple[str, ...], dict[str, Entry]] = {}
    for one, entry in sorted(held, key=lambda pair: (pair[1].rank, pair[1].cell.method.key)):
        rows.setdefault((*_names(entry), _hash(entry)), {})[one.title] = entry
    cells = tuple((*names, *(_short(by_zoo.get(zoo)) for zoo in zoos)) for names, by_zoo in rows.items())
    intro = (
        "Correct verdicts of detectors whose settings are today's defaults, by zoo. A detector that is not here was"
        " only measured with other settings, which are below."
    )
    yield Section("At a glance", intro, (Grid("", ("detector", "service", "budget", "settings", *zoos), cells),))


def _short(entry: Entry | None) -> str | Shown:
    return formats.NONE if entry is None else Shown(entry.cell.right, formats.share_words(entry.cell.right))


def _board(board: Board) -> Section:
    today = [entry for entry in board.entries if entry.default]
    others = [entry for entry in board.entries if not entry.default]
    grids = []
    if today:
        grids.append(_grid("With today's default settings", today, board))
    if others:
        grids.append(_grid("With other settings, former defaults among them", others, board))
    return Section(board.title, wording.victims_words(board.victims), tuple(grids))


def _grid(title: str, entries: Sequence[Entry], board: Board) -> Grid:
    return Grid(title, _COLUMNS, tuple(map(_row, entries)), _incomplete(entries, board))


def _row(entry: Entry) -> tuple[str | Shown, ...]:
    found, asks = entry.cell, bool(entry.cell.method.service)
    medians = (found.queries.backdoored.median, found.queries.clean.median)
    return (
        *_names(entry),
        Shown(found.right, formats.right_words(found.right)),
        formats.share_words(found.rates.caught),
        formats.share_words(found.rates.accused),
        formats.counted(found.target),
        *(formats.number(median) if asks and median is not None else formats.NONE for median in medians),
        _hash(entry),
    )


def _hash(entry: Entry) -> str:
    return entry.cell.method.config_hash[:_HASH_SHOWN]


def _names(entry: Entry) -> tuple[str, str, str]:
    method = entry.cell.method
    return method.detector, service_words(method.service) or "weights", budget_words(method)


def _incomplete(entries: Sequence[Entry], board: Board) -> str:
    """Which rows are not of all victims, and how many of their scans have no verdict."""
    remarks = []
    for entry in entries:
        found = entry.cell
        said = [f"scanned {found.scans} of {board.victims.count} victims"] if found.scans < board.victims.count else []
        said += [f"{part.hits} {name}" for name, part in _silent(entry) if part.hits]
        if said:
            remarks.append(f"{found.method.detector} {_hash(entry)}: {', '.join(said)}")
    return "; ".join(remarks) + "." if remarks else ""


def _silent(entry: Entry) -> tuple[tuple[str, Share], ...]:
    return ("undecided", entry.cell.undecided), ("invalid", entry.cell.invalid)


def _settings(board: Leaderboard) -> Section:
    rows = tuple(
        (
            one.digest,
            one.method,
            one.made_by,
            formats.in_lines(", ".join(filter(None, (*tables(one.changed), one.others)))),
        )
        for one in settings(board)
    )
    columns = ("settings", "detector, service, budget", "made by", "other than today's defaults")
    return Section(SETTINGS, "", (Grid("", columns, rows),), files(board))
