"""A script, such as a benchmark, as a command: help from its docstring, and what cannot be done in one line.

Here and not beside the benchmarks, since `python benchmarks/NAME.py` finds no package of that name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

import typer

from studies.cli.main import BUG, exit_code, message_of


def run(main: Callable[..., None], about: str | None) -> None:
    """Run `main` on the command line's arguments. about: what its help says."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=about)(main)
    try:
        app()
    except Exception as error:
        if (code := exit_code(error)) == BUG or os.environ.get("SIMKIT_DEBUG"):
            raise
        typer.echo(f"error: {message_of(error)}", err=True)
        raise SystemExit(code) from None


def check_only(only: Collection[object] | None, there: Collection[object]) -> None:
    """Raise BadParameter where `--only` names what is not there."""
    if unknown := [name for name in only or () if name not in there]:
        raise typer.BadParameter(f"{unknown[0]}: there are {'; '.join(map(str, there))}", param_hint="--only")
