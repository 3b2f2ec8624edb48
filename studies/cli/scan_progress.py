"""What `simkit study scan` and `simkit study run` share: running the scans and reporting their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from studies.cli.output import echo, print_json, say

if TYPE_CHECKING:
    from studies.study.executors import Workers
    from studies.study.result_line import ResultLine
    from studies.study.unit import Outcome, Unit

Naming: TypeAlias = "Callable[[Unit], str]"
"""The name of a unit's scan, shown beside its victim."""


_STATES: Mapping[str, str] = MappingProxyType(
    {"scanned": "scanned", "there": "scanned before", "busy": "being scanned by another process", "failed": "failed"}
)


def worked(
    units: Sequence[Unit], workers: Workers, finished: Callable[[Outcome], None], *, quiet: bool, naming: Naming
) -> list[Outcome]:
    """Scan all units, and print a line per scan as it ends, then warnings and errors.

    Budgets that are smaller than a plan are said first, each once.
    """
    from studies.scan.trigger_files import check_folder
    from studies.study.plan import budgets_below_plan
    from studies.study.result_file import check_place
    from studies.study.workers import work_through

    for place in {folder for unit in units for folder in (unit.study.out.parent, unit.study.ledgers)}:
        check_folder(place)  # before any query
    for file in {unit.study.out for unit in units}:
        check_place(file)
    for message in budgets_below_plan(units):
        say(f"simkit: warning: {message}", err=True)
    outcomes: list[Outcome] = []
    for outcome in work_through(units, workers):
        outcomes.append(outcome)
        finished(outcome)
        if outcome.line is not None and not quiet:
            say(_words(outcome.line, naming(outcome.unit)))
    for message in dict.fromkeys(_complaints(outcomes, naming)):
        say(message, err=True)
    return outcomes


def tell(outcomes: Sequence[Outcome], before: int, *, as_json: bool, more: Mapping[str, object] | None = None) -> None:
    """Print the number of scans by outcome.

    before: number of scans that had a result line already. more: further fields of the JSON object.
    """
    count = {state: sum(o.state == state for o in outcomes) for state in _STATES}
    count["there"] += before
    if as_json:
        lines = [o.line.model_dump(mode="json") for o in outcomes if o.line is not None]
        failures = [_failure(o) for o in outcomes if o.state == "failed"]
        print_json(count | {"lines": lines, "failures": failures} | dict(more or {}))
    else:
        echo(", ".join(f"{number} {_STATES[state]}" for state, number in count.items() if number) or "no scans")


def by_detector(unit: Unit) -> str:
    """The name of a scan where all scans use one service."""
    return unit.detector


def name_of(outcome: Outcome, naming: Naming) -> str:
    """The name of a scan with its victim."""
    return f"{naming(outcome.unit)} on victim {outcome.unit.victim.index}"


def _failure(outcome: Outcome) -> dict[str, object]:
    unit = outcome.unit
    return {"index": unit.victim.index, "detector": unit.detector, "error": "; ".join(outcome.messages)}


def _words(line: ResultLine, name: str) -> str:
    """A scan in one line, with whether its verdict is correct."""
    flagged = f" (class {', '.join(map(str, line.flagged))})" if line.flagged else ""
    passes = "weights" if line.forward_passes is None else f"{line.forward_passes:,} images forward"
    cost = f"{line.queries:,} queries" if line.asks else passes
    verdict = f"{line.index:4d}  {line.stratum}  {name}: {line.verdict}{flagged}"
    why = f" ({line.notes})" if line.notes and line.verdict in ("undecided", "invalid") else ""
    right = (
        "wrong" if not line.right else "right" if not line.flagged or _on_target(line) else "right, for another class"
    )
    return f"{verdict}, {right}, {cost}, {line.seconds:.1f} s{why}"


def _on_target(line: ResultLine) -> bool:
    return not set(line.flagged).isdisjoint(line.target_classes)


def _complaints(outcomes: Sequence[Outcome], naming: Naming) -> Iterator[str]:
    for outcome in outcomes:
        for message in outcome.messages if outcome.state != "failed" else ():
            yield f"simkit: warning: {message}"
    for outcome in outcomes:
        for message in outcome.messages if outcome.state == "failed" else ():
            yield f"simkit: error: {name_of(outcome, naming)}: {message}"
