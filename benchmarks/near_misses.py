"""How often a scan that flags nothing has a trigger that turned nearly enough unseen images, by truth and split.

python benchmarks/near_misses.py FILE.jsonl ... [--detector auto]

It reads the notes of lines that are `clean`, or `undecided` for such a trigger alone. A share from `SUSPICIOUS` on
makes a verdict `undecided`; lines that were measured before that say `clean`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from simkit.search.confirm import SUSPICIOUS, TOO_MANY
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

_TURNED = re.compile(r"turned (\d+) % of \d+ unseen images, too few (?:to confirm it|for a trigger of its size)")

COLUMNS = ("split", "truth", "answers", "scans", "suspicious", "highest")


def main(
    files: Annotated[list[Path], typer.Argument(help="Result files.")],
    detector: Annotated[str, typer.Option(help="Count the lines of this detector.")] = "auto",
) -> None:
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for line in (line for file in files for line in read_lines(file)):
        if line.detector == detector and (line.verdict == "clean" or TOO_MANY in (line.notes or "")):
            found[line.split, line.truth, _answers(line)].append(nearest(line.notes))
    rows = [
        {
            "split": split,
            "truth": truth,
            "answers": answers,
            "scans": len(shares),
            "suspicious": sum(share >= 100 * SUSPICIOUS for share in shares),
            "highest": ", ".join(f"{share} %" for share in sorted(shares, reverse=True)[:3] if share),
        }
        for (split, truth, answers), shares in sorted(found.items())
    ]
    print_table(rows, COLUMNS)


def nearest(notes: str | None) -> int:
    """The largest share in per cent that a rejected trigger of these notes turned; 0 if they name none."""
    return max(map(int, _TURNED.findall(notes or "")), default=0)


def _answers(line: ResultLine) -> str:
    return "labels" if line.config["oracle"]["label_only"] else "scores"


if __name__ == "__main__":
    run(main, __doc__)
