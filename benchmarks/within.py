"""How many scans have the right verdict within a number of queries, by service, detector and kind of trigger.

python -m benchmarks.within FILE.jsonl ... [--queries 1490] [--detector NAME] [--zoo NAME]

Scans of all files, draws of images and splits are counted together, so that a victim with several draws counts several
times. A scan of a backdoored victim is right if it flags the target and nothing else, one of a clean victim if its
verdict is `clean`. Clean victims have their verdict when the whole plan was run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.leave_out import KINDS, OTHERS
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.ledgers.run_words import service_in_words
from studies.results.budget.wording import service_words
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine


def main(
    files: Annotated[list[Path], typer.Argument(help="Result files.")],
    queries: Annotated[list[int] | None, typer.Option(help="Count verdicts within so many queries; repeat it.")] = None,
    detector: Annotated[list[str] | None, typer.Option(help="Only lines of this detector; repeat it.")] = None,
    zoo: Annotated[list[str] | None, typer.Option(help="Only lines of this zoo; repeat it.")] = None,
) -> None:
    budgets = queries or []
    lines = [line for file in files for line in read_lines(file)]
    kept = [line for line in lines if (not detector or line.detector in detector) and (not zoo or line.zoo in zoo)]
    print_table(rows(kept, budgets), columns(budgets))


def columns(budgets: Sequence[int]) -> tuple[str, ...]:
    """The names of the columns."""
    return ("victims", "service", "detector", "scans", *map(_within, budgets), "right", "median")


def rows(lines: Iterable[ResultLine], budgets: Sequence[int]) -> list[dict[str, Any]]:
    """One row for each kind of victim, service and detector; the median is of the queries to a right verdict."""
    groups: dict[tuple[str, str, str], list[ResultLine]] = defaultdict(list)
    for line in lines:
        service = service_words(service_in_words(line.config["oracle"]))
        groups[kind_of(line), service, line.detector.rpartition(":")[2]].append(line)
    return [_row(key, groups[key], budgets) for key in sorted(groups)]


def kind_of(line: ResultLine) -> str:
    """The kind of trigger that a victim has, as `leave_out` counts them, or `clean`."""
    return "clean" if line.truth == "clean" else KINDS.get(line.stratum, OTHERS)


def is_right(line: ResultLine) -> bool:
    """Whether a verdict is that of the truth, and no class is flagged but a target."""
    return line.right and set(line.flagged) <= set(line.target_classes)


def _row(key: tuple[str, str, str], scans: Sequence[ResultLine], budgets: Sequence[int]) -> dict[str, Any]:
    after = [scan.decided_after for scan in scans if is_right(scan)]
    row: dict[str, Any] = dict(zip(("victims", "service", "detector"), key, strict=True)) | {"scans": len(scans)}
    row |= {_within(budget): sum(queries <= budget for queries in after) for budget in budgets}
    return row | {"right": len(after), "median": f"{median(after):,.0f}" if after else "-"}


def _within(budget: int) -> str:
    return f"within {budget:,}"


if __name__ == "__main__":
    run(main, __doc__)
