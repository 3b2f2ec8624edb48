"""The `simkit` command: its groups are in `studies.cli`, one file a topic; how errors end it is here alone.

A new group: write `studies/cli/TOPIC.py` with a `typer.Typer` named `app`, and add one line below. Commands import
what is heavy (torch, sqlalchemy, pandas) inside their functions, so that `simkit --help` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from studies.cli import (
    bench,
    data,
    db,
    demo,
    detectors,
    env,
    import_results,
    keys,
    mitigate,
    replay,
    report,
    scan,
    serve,
    study,
    zoo,
)
from studies.cli.help import Commands
from studies.cli.interrupts import end_quietly
from studies.cli.output import echo
from studies.cli.streams import abandon, prepare_streams, settle_streams

DONE, BUG, USAGE, UNDECIDED, BAD_INPUT, STORAGE, INTERRUPTED, READER_GONE = 0, 1, 2, 3, 4, 5, 130, 141
"""Exit codes; 3 means no verdict before the budget ran out or the service refused, 4 bad model or data, 5 storage."""

app = typer.Typer(
    cls=Commands,
    name="simkit",
    help="Detect backdoored classifiers with query access only and a limited budget.",
    epilog="Exit codes: 0 done, 1 some scans of a study failed, 2 usage, 3 undecided, 4 bad model or data, 5 storage, "
    "130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # with it, text in brackets is taken for markup, and flags are shown with a type
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("bench")(bench.measure)
app.command("demo")(demo.show_demo)
app.command("detectors")(detectors.list_detectors)
app.command("report")(report.write_report)
app.command("replay")(replay.replay_run)
app.command("scan")(scan.scan_model)
app.command("serve")(serve.serve_models)
app.command("mitigate")(mitigate.mitigate_run)
app.add_typer(zoo.app, name="zoo")
app.add_typer(study.app, name="study")
app.add_typer(env.app, name="env")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")
app.add_typer(import_results.app, name="import")


def _show_version(wanted: bool) -> None:
    if wanted:
        echo(f"simkit {version('b3d-simkit')}")
        raise typer.Exit(DONE)


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; an error is one line on stderr, with a traceback under SIMKIT_DEBUG=1.

    args: the arguments; None takes those of the command line.
    """
    prepare_streams()
    try:
        return _run(sys.argv[1:] if args is None else list(args))
    finally:
        settle_streams()


@functools.cache
def _command() -> Any:
    """All commands with their options, which typer would read from the functions anew whenever `app` is called."""
    return typer.main.get_command(app)


def _run(given: list[str]) -> int:
    try:
        result = _command()(given, prog_name="simkit", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        abandon(sys.stdout)  # whoever reads the output has seen enough, as in `simkit db runs | head`
        return READER_GONE
    except Exception as error:  # the outermost frame of a program: every error is reported here
        code = _rendered(error)
        _answer_in_json(given, message_of(error), code)
        return code
    if result == INTERRUPTED:
        end_quietly()
        message = "interrupted; the same command resumes from what is stored"
        _say(message)
        _answer_in_json(given, message, INTERRUPTED)
    return result if isinstance(result, int) else DONE


def exit_code(error: Exception) -> int:
    """The exit code of an error, by its type."""
    from db.errors import StorageError, UnknownRun
    from oracles.errors import InvalidImages, InvalidSpec, ModelError, Refused, ReplayMismatch
    from simkit.errors import ConfigError, DataError

    table: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
        ((typer.TyperException, ConfigError, InvalidSpec, UnknownRun), USAGE),
        ((Refused,), UNDECIDED),
        ((ModelError, InvalidImages, DataError), BAD_INPUT),
        ((StorageError, ReplayMismatch, OSError), STORAGE),
    )
    return next((code for types, code in table if isinstance(error, types)), BUG)


def message_of(error: Exception) -> str:
    """The message of an error, in one line."""
    if isinstance(error, typer.TyperException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.strerror:  # of the system, which no module gave words of its own
        text = f"{error.filename or 'the output'}: {error.strerror}"
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


def _answer_in_json(args: Sequence[str], message: str, code: int) -> None:
    """Print the JSON object of a failed `scan --json`, which prints one even if its arguments could not be parsed."""
    if args[:1] == ["scan"] and "--json" in args:
        with contextlib.suppress(OSError):  # as in `_say`
            scan.print_failure(message, code)


def _rendered(error: Exception) -> int:
    code = exit_code(error)
    if os.environ.get("SIMKIT_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, typer.TyperException):
        _say_usage(error)
    elif code == BUG:
        _say(f"unexpected {type(error).__name__}: {error} (this is a bug; SIMKIT_DEBUG=1 shows the traceback)")
    else:
        _say(message_of(error))
    return code


def _say_usage(error: typer.TyperException) -> None:
    context, message = getattr(error, "ctx", None), error.format_message()
    where = f"; see {context.command_path} --help" if context else ""
    if context is not None and message == context.get_help():  # a group alone
        echo(message)
    else:
        _say(message.rstrip(".") + where)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody can be told where stderr is full or gone; the exit code is left
        echo(f"simkit: error: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
