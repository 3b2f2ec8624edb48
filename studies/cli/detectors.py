"""`simkit detectors`: list the detectors and repairs, and the access that each one needs."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import print_json, print_table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_detectors(as_json: AsJson = False) -> None:
    """List the detectors, and what repairs a model, with the access that each one needs.

    The columns follow from the type of access object that it takes, which the type checker enforces. Detectors of
    training data and repairs are called from Python; all others can be named in a study.
    """
    from studies.study.access_table import access_rows, repair_rows
    from studies.study.detectors import methods

    rows = [vars(row) for row in (*access_rows(methods().values()), *repair_rows())]
    if as_json:
        print_json({"detectors": [row | {"names": list(row["names"])} for row in rows]})
        return
    flags = ("weights", "training_data", "clean_data", "queries")
    shown = [row | {flag: "yes" if row[flag] else "-" for flag in flags} for row in rows]
    print_table([{"detector": row["title"], **row} for row in shown], ("detector", "stage", *flags, "gives", "names"))
