"""The `simkit` command: its groups are in `studies.commands`, one file a topic; how errors end it is here alone.

A new group: write `studies/commands/TOPIC.py` with a `typer.Typer` named `app`, and add one line below. Commands import
what is heavy (torch, sqlalchemy, pandas) inside their functions, so that `simkit --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from studies.cli import (
    bench,
    data,
    db,
    demo,
    detectors,
    env,
    import_results,
    mitigate,
    replay,
    report,
    scan,
    study,
    zoo,
)

DONE, BUG, USAGE, UNDECIDED, BAD_INPUT, STORAGE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""How a command ends: 3, no verdict before the budget ended or the service refused; 4, bad model or data; 5, ledger."""

app = typer.Typer(
    name="simkit",
    help="Tell backdoored classifiers from clean ones by asking them, for the fewest queries.",
    epilog="Exit codes: 0 done, 1 some scans of a study failed, 2 usage, 3 undecided, 4 bad model or data, 5 storage, "
    "130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("bench")(bench.measure)
app.command("demo")(demo.show_demo)
app.command("detectors")(detectors.list_detectors)
app.command("report")(report.write_report)
app.command("replay")(replay.replay_run)
app.command("scan")(scan.scan_model)
app.command("mitigate")(mitigate.mitigate_run)
app.add_typer(zoo.app, name="zoo")
app.add_typer(study.app, name="study")
app.add_typer(env.app, name="env")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
app.add_typer(import_results.app, name="import")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"simkit {version('b3d-simkit')}")
        raise typer.Exit(DONE)


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; an error is one line on stderr, and no traceback without SIMKIT_DEBUG.

    args: as on the command line; None takes them from there.
    """
    given = sys.argv[1:] if args is None else list(args)
    try:
        result = app(given, prog_name="simkit", standalone_mode=False)
    except Exception as error:  # the outermost frame of a program: whatever arrives here is told, never swallowed
        code = _rendered(error)
        _answer_in_json(given, message_of(error), code)
        return code
    if result == INTERRUPTED:
        message = "interrupted; the same command goes on from what is kept by now"
        _say(message)
        _answer_in_json(given, message, INTERRUPTED)
    return result if isinstance(result, int) else DONE


def exit_code(error: Exception) -> int:
    """The one table from typed errors to exit codes."""
    from db.errors import StorageError, UnknownRun
    from oracles.errors import InvalidImages, InvalidSpec, ModelError, Refused, ReplayMismatch
    from simkit.errors import ConfigError, DataError

    table: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
        ((typer.TyperException, ConfigError, InvalidSpec, UnknownRun), USAGE),
        ((Refused,), UNDECIDED),
        ((ModelError, InvalidImages, DataError), BAD_INPUT),
        ((StorageError, ReplayMismatch), STORAGE),
    )
    return next((code for types, code in table if isinstance(error, types)), BUG)


def message_of(error: Exception) -> str:
    """What an error says, in one line."""
    text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    return " ".join(text.split()) or type(error).__name__


def _answer_in_json(args: Sequence[str], message: str, code: int) -> None:
    """`scan --json` answers with its one object however it ends, also where the arguments could not be read."""
    if args[:1] == ["scan"] and "--json" in args:
        scan.print_failure(message, code)


def _rendered(error: Exception) -> int:
    code = exit_code(error)
    if os.environ.get("SIMKIT_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, typer.TyperException):
        _say_usage(error)
    elif code == BUG:
        _say(f"unexpected {type(error).__name__}: {error} (a bug: SIMKIT_DEBUG=1 shows where)")
    else:
        _say(str(error))
    return code


def _say_usage(error: typer.TyperException) -> None:
    context = getattr(error, "ctx", None)
    where = f"; see {context.command_path} --help" if context else ""
    if message := error.format_message():  # none when the help itself was just shown
        _say(message.rstrip(".") + where)


def _say(message: str) -> None:
    typer.echo(f"simkit: error: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
