"""`simkit study new` and `simkit study schema`: a study file to begin with, and what editors check it by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

Example: TypeAlias = Literal["curve", "tune"]

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.", show_default=False)]
ExampleOption = Annotated[Example, typer.Option("--example", help="Curves over services, or settings to be tuned.")]


def new_study(file: NewFile, example: ExampleOption = "curve") -> None:
    """Write a study file with every line explained, and beside it the JSON Schema that editors complete it by."""
    from studies.study.schema import write_example

    schema = write_example(file, example)
    typer.echo(f"{file}: edit it, then simkit study run {file}; editors read {schema}")


def print_schema() -> None:
    """Print the JSON Schema of study files."""
    from studies.study.schema import schema

    typer.echo(schema(), nl=False)
