"""`simkit detectors`: list the detectors and the access that each one needs."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import print_json, print_table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_detectors(as_json: AsJson = False) -> None:
    """List the detectors that can be named in a study, and the access that each one needs.

    The columns follow from the type of access object that a detector takes, which the type checker enforces.
    """
    from studies.study.detectors import access_rows, methods

    rows = [vars(row) for row in access_rows(methods().values())]
    if as_json:
        print_json({"detectors": [row | {"names": list(row["names"])} for row in rows]})
        return
    flags = ("weights", "clean_data", "queries")
    shown = [row | {flag: "yes" if row[flag] else "-" for flag in flags} for row in rows]
    print_table([{"detector": row["title"], **row} for row in shown], ("detector", *flags, "names"))
