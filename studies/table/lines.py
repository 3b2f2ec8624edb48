"""Lines of `results/*.jsonl`, read and checked: each whole, each scan once, each victim with one truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from simkit.errors import DataError, complaint
from studies.result_line import ResultLine

_MAY_DIFFER = {"seconds", "environment", "decision_queries"}
"""Of two lines about one scan: where and how fast it was made again, and what an older one does not say."""


@dataclass(frozen=True)
class _Placed:
    """A line and where it stands, for a message."""

    line: ResultLine
    place: str


def checked_lines(files: Sequence[Path]) -> list[ResultLine]:
    """The lines of all files, in order, each scan once: of equal lines the last counts.

    Raises DataError, naming file and line: for a file that cannot be read, a line that is torn or is none of results,
    two lines that say different things of one scan, and two that disagree about what a victim is.
    """
    by_unit: dict[tuple[str, ...], _Placed] = {}
    victims: dict[tuple[str, ...], _Placed] = {}
    for placed in (placed for file in files for placed in _placed(file)):
        _check_victim(placed, victims)
        unit = tuple(map(str, placed.line.unit))
        if unit in by_unit:
            _check_again(placed, by_unit[unit])
        by_unit[unit] = placed
    return [placed.line for placed in by_unit.values()]


def _placed(file: Path) -> Iterator[_Placed]:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); name a file of results") from error
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if line.strip():
            place = f"{file}, line {number}"
            yield _Placed(_parsed(line, place), place)


def _parsed(line: bytes, place: str) -> ResultLine:
    try:
        return ResultLine.model_validate_json(line)
    except ValidationError as error:
        if not line.endswith(b"\n"):
            raise DataError(f"{place}: torn; the same `simkit study scan` mends it, or take it away") from error
        raise DataError(f"{place}: no line of `simkit study scan`: {complaint(error)}") from error


def _check_again(placed: _Placed, before: _Placed) -> None:
    if placed.line.model_dump(exclude=_MAY_DIFFER) != before.line.model_dump(exclude=_MAY_DIFFER):
        raise DataError(
            f"{placed.place}: says otherwise of the same scan than {before.place}; take one of the two lines away"
        )


def _check_victim(placed: _Placed, victims: dict[tuple[str, ...], _Placed]) -> None:
    line = placed.line
    before = victims.setdefault((line.zoo, line.split, str(line.index)), placed)
    if _victim(before.line) != _victim(line):
        raise DataError(
            f"{placed.place}: victim {line.index} of zoo {line.zoo} is another than in {before.place}, though of the"
            " same name; read the lines of the two zoos by themselves"
        )


def _victim(line: ResultLine) -> tuple[object, ...]:
    kind = (line.model_hash, line.truth, line.stratum, line.attack, line.architecture)
    return (*kind, line.target_classes, line.clean_accuracy, line.implant_success)
