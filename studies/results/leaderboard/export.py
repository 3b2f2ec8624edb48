"""A leaderboard as JSON with all records, and as CSV with one row per entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from studies.render.figures import csv_text
from studies.results.leaderboard.layout import READING
from studies.results.leaderboard.records import Leaderboard

_SHARE = ("", "_of", "_low", "_high")

_COLUMNS = (
    *("split", "zoo", "making", "detector", "service", "budget", "config_hash", "default"),
    *(f"{name}{end}" for name in ("right", "tpr", "fpr", "target") for end in _SHARE),
    *("auroc", "auroc_low", "auroc_high", "queries_backdoored_median", "queries_clean_median"),
)


def to_json(board: Leaderboard) -> dict[str, Any]:
    """All records as plain values, with notes on how to read them."""
    return asdict(board) | {"reading": list(READING)}


def to_csv(board: Leaderboard) -> str:
    """One row per entry, in the order of the page. Numbers are exact, and a field is empty where a value is unknown."""
    return csv_text(_COLUMNS, _rows(board))


def _rows(leaderboard: Leaderboard) -> Iterator[tuple[object, ...]]:
    for board in leaderboard.boards:
        for entry in board.entries:
            found, method = entry.cell, entry.cell.method
            shares = (found.right, found.rates.caught, found.rates.accused, found.target)
            medians = (found.queries.backdoored.median, found.queries.clean.median)
            yield (
                *(leaderboard.split, board.zoo, board.making, method.detector, method.service, method.budget),
                *(method.config_hash, entry.default),
                *(value for s in shares for value in (s.hits, s.trials, s.low, s.high)),
                *(found.ranking.auroc, found.ranking.low, found.ranking.high),
                *(medians if method.service else (None, None)),
            )
