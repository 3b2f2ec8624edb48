"""Output of commands: tables for people, JSON for programs, and progress bars on a terminal only."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer

from simkit.progress import OnProgress, unheard
from studies.render.text import _table, printable

_PIPED_WIDTH = 240
"""Width of a table, in columns, where there is no terminal, so that no name is cut in a pipe."""


def print_json(value: object) -> None:
    """Print one JSON document on stdout; NaN and infinities raise, since JSON has none."""
    echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print the rows as a table; a missing or None value is shown as `-`, and a float with six significant digits."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(_table(rows, columns))


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print on stdout or stderr, control characters written out: text may come from a stranger's file."""
    typer.echo(printable(text), nl=nl, err=err)


def say(line: str, *, err: bool = False) -> None:
    """Print a line on stdout or stderr, above any progress bars, which `echo` would overwrite."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{printable(line)}\n")
    stream.flush()


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[OnProgress]:
    """A progress bar on stderr; a function that does nothing where `quiet` is set or stderr is no terminal.

    what: the name of the work, shown in front of the bar.
    """
    if quiet or not sys.stderr.isatty():
        yield unheard
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # in a narrow terminal the words give way, not the time
    columns = (
        TextColumn("{task.description}", markup=False, table_column=words),
        *(BarColumn(12), TaskProgressColumn(), TimeRemainingColumn()),
    )
    redirected = sys.stdout.isatty()
    with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirected, expand=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, note="": bar.update(
            task, completed=done, total=total, description=f"{what} {note}".rstrip()
        )


@contextmanager
def stacked_bars(totals: Mapping[str, int], *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """One progress bar on stderr per name, with its total and the time left, where `progress_bar` would show one.

    Calling the result with a name advances the bar of that name by one.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    redirected = sys.stdout.isatty()
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirected) as bars:
        tasks = {name: bars.add_task(name, total=total) for name, total in totals.items()}
        yield lambda name: bars.advance(tasks[name])


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Print warnings raised in the body as lines on stderr, without their source code."""
    with warnings.catch_warnings():
        setattr(warnings, "showwarning", _say_warning)  # noqa: B010 (mypy)
        yield


def _say_warning(message: Warning | str, *_where: object) -> None:
    with contextlib.suppress(OSError):  # a full stderr ends no scan that is paid for
        echo(f"simkit: warning: {' '.join(str(message).split())}", err=True)
