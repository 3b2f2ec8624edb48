"""Gathers a leaderboard from files of result lines alone: no zoo, ledger or model is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from simkit.detectors.registry import TITLES
from simkit.errors import ConfigError
from studies.results.leaderboard.records import Board, Entry, Leaderboard
from studies.results.table.cells import cell
from studies.results.table.changed import has_defaults, lacking
from studies.results.table.gather import Wanted, chosen, victims_of
from studies.results.table.methods import key_of, methods, service_rank
from studies.results.table.records import Key, Method
from studies.study.result_file import checked_lines, holds_scans
from studies.study.result_line import ResultLine


def gather_leaderboard(files: Sequence[Path], wanted: Wanted | None = None) -> Leaderboard:
    """The leaderboard of the result lines in these files; a file of other measurements is left out and named.

    wanted: its split and zoos. Raises DataError for an unusable line (see `checked_lines`), and ConfigError where there
    is no result line, or none of that split or zoo.
    """
    own = [file for file in files if holds_scans(file)]
    if not own:
        raise ConfigError(f"{', '.join(map(str, files))}: no file holds result lines; name files that studies wrote")
    lines = checked_lines(own, made_again=True)
    shown = chosen(lines, wanted or Wanted())
    split = shown[0].split
    of_zoo: dict[str, list[ResultLine]] = defaultdict(list)
    for line in shown:
        of_zoo[line.zoo].append(line)
    named = _methods(shown)
    boards = [
        _board(making, making_lines, named)
        for zoo_lines in of_zoo.values()
        for making, making_lines in enumerate(makings(zoo_lines), start=1)
    ]
    return Leaderboard(
        split=split,
        boards=tuple(sorted(boards, key=lambda board: (-board.victims.count, board.zoo, board.making))),
        lines=len(shown),
        files=tuple(sorted(file.name for file in own)),
        left_out=tuple(sorted(Counter(line.split for line in lines if line.split != split).items())),
        others=tuple(sorted(file.name for file in files if file not in own)),
    )


def _methods(lines: Sequence[ResultLine]) -> dict[Key, Method]:
    """Every method by its key, each with the settings that it alone changed, whatever others beside it changed."""
    firsts = {key_of(line): line for line in reversed(lines)}
    return {key: methods([line], TITLES)[key] for key, line in firsts.items()}


def makings(lines: Sequence[ResultLine]) -> list[list[ResultLine]]:
    """The lines of one zoo by the making of their victims: within one, an index stands for one victim."""
    weights: list[dict[int, str]] = []
    held: list[list[ResultLine]] = []
    for line in lines:
        fitting = (n for n, known in enumerate(weights) if known.get(line.index, line.model_hash) == line.model_hash)
        same = (n for n, known in enumerate(weights) if known.get(line.index) == line.model_hash)
        number = next(same, next(fitting, len(weights)))
        if number == len(weights):
            weights.append({})
            held.append([])
        weights[number][line.index] = line.model_hash
        held[number].append(line)
    return held


def _board(making: int, lines: Sequence[ResultLine], named: dict[Key, Method]) -> Board:
    by_method: dict[Key, list[ResultLine]] = defaultdict(list)
    for line in lines:
        by_method[key_of(line)].append(line)
    entries = [_entry(named[key], own) for key, own in by_method.items()]
    return Board(lines[0].zoo, making, victims_of(lines), tuple(sorted(entries, key=_place)))


def _entry(method: Method, lines: Sequence[ResultLine]) -> Entry:
    versions = {f"simkit {line.environment.get('simkit')}, torch {line.environment.get('torch')}" for line in lines}
    first = lines[0]
    return Entry(
        cell=cell(method, lines),
        default=has_defaults(first),
        lacks=lacking(first),
        rank=service_rank(first),
        made_by=tuple(sorted(versions)),
    )


def _place(entry: Entry) -> tuple[object, ...]:
    """The sort key: service first, then the lower end of the interval of correct verdicts, so that few do not lead."""
    found, method = entry.cell, entry.cell.method
    return entry.rank, method.service, -(found.right.low or 0.0), found.queries.all.total / found.scans, method.key
