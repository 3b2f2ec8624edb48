"""`simkit study new` and `simkit study schema`: write an example study file, and the schema that editors use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from studies.cli.output import echo

Example: TypeAlias = Literal["curve", "tune"]

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="The study file to write.", show_default=False)]
ExampleOption = Annotated[Example, typer.Option("--example", help="A study of curves over services, or of tuning.")]


def new_study(file: NewFile, example: ExampleOption = "curve") -> None:
    """Write an example study file with comments, and beside it the JSON Schema by which editors complete it."""
    from studies.study.schema import write_example

    schema = write_example(file, example)
    echo(f"{file}: edit it, then run `simkit study run {file}`; editors read {schema}")


def print_schema() -> None:
    """Print the JSON Schema of study files."""
    from studies.study.schema import schema

    echo(schema(), nl=False)
