"""Runs a script, such as a benchmark, as a command: its help is its docstring, and an error is one line.

It is here and not beside the benchmarks, since `python benchmarks/NAME.py` could not import it from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

import typer

from studies.cli.main import BUG, exit_code, message_of
from studies.cli.output import echo


def run(main: Callable[..., None], about: str | None) -> None:
    """Run `main` on the command line's arguments. about: the help text."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=about)(main)
    try:
        app()
    except Exception as error:
        if (code := exit_code(error)) == BUG or os.environ.get("SIMKIT_DEBUG"):
            raise
        echo(f"error: {message_of(error)}", err=True)
        raise SystemExit(code) from None


def check_only(only: Collection[object] | None, names: Collection[object]) -> None:
    """Raise BadParameter where `--only` gives a name that is not among `names`."""
    if unknown := [name for name in only or () if name not in names]:
        raise typer.BadParameter(f"{unknown[0]}: choose from {'; '.join(map(str, names))}", param_hint="--only")
