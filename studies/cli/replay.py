"""`simkit replay`: rebuild a stored run, send its queries again, or apply other rules to its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.imports import lasting_imports
from studies.cli.output import echo, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simkit.verdict import Rule
    from studies.ledgers.run_settings import OwnCode
    from studies.replay.ask_again import ReplayResult
    from studies.replay.other_rules import Reading
    from studies.replay.rebuild import ReplayInputs

READING_COLUMNS = ("rule", "at", "verdict", "held", "flagged", "score", "spent")
"""The columns of a reading that fit a terminal; `--json` has all."""

LedgerFile = Annotated[Path, typer.Argument(metavar="DB", help="The ledger; it is only read.", show_default=False)]
RunId = Annotated[
    int | None, typer.Argument(metavar="RUN", help="The run's number in `simkit db runs`.", show_default=False)
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="The model to query; by default that of the run.")
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="The images of the run; by default as named in the ledger.")
]
Preset = Annotated[
    str | None, typer.Option("--preset", metavar="MODULE:NAME", help="Your own preset that the run used.")
]
Restriction = Annotated[
    str | None, typer.Option("--restriction", metavar="MODULE:NAME", help="Your own restriction that the run used.")
]
Sample = Annotated[
    int | None, typer.Option("--sample", metavar="N", min=1, help="Compare N random queries instead of all queries.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the sample.")]
Rules = Annotated[
    list[str] | None,
    typer.Option("--rule", metavar="NAME[=T]", help="Show the verdict by this rule with threshold T; sends no query."),
]
Budgets = Annotated[
    str | None,
    typer.Option("--at", metavar="N,N,...", help="Show the verdicts with these budgets; sends no query."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def replay_run(  # noqa: PLR0913 (the options are the command's interface)
    db: LedgerFile,
    run: RunId = None,
    model: ModelName = None,
    data: Data = None,
    preset: Preset = None,
    restriction: Restriction = None,
    sample: Sample = None,
    seed: Seed = 0,
    rules: Rules = None,
    at: Budgets = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild every stored query of RUN, send it again, and compare the answers bit by bit.

    These queries are not charged.
    A run of a service is replayed with the images that it kept; --model is then the service's file or the model.
    With --rule or --at no query is sent: a table shows the verdict of a scan with each rule and budget,
    as far as the stored answers determine it; --json shows more.
    Exit codes: 0 all answers are equal (or another --model was queried), 4 bad model or data,
    5 an answer differs or a query cannot be rebuilt.
    """
    from studies.replay.rebuild import ReplayInputs

    given = ReplayInputs(data=data, own=_own_code(preset, restriction))
    if rules or at:
        _check_alone(model, sample)
        return _read(db, run, (rules or [], at), given, as_json)
    with lasting_imports():  # only here: the readings above need no torch
        from oracles.errors import ReplayMismatch
        from studies.replay.ask_again import AskAgain, replay
        from studies.replay.served import replay_served, served_run

    again, served = AskAgain(model, sample, seed), served_run(db, run)
    with progress_bar(f"replay {db.name}", quiet=as_json) as progress:
        if served is None:
            result = replay(db, run, again, given, progress)
        else:
            result = replay_served(served, again, progress)
    if as_json:
        print_json(result.to_json())
    else:
        show(result)
    if result.same_model and not result.holds:
        raise ReplayMismatch(f"{db}: run {result.run}: {_failure(result)}")


def _check_alone(model: str | None, sample: int | None) -> None:
    from simkit.errors import ConfigError

    if model is not None or sample is not None:
        raise ConfigError("--rule and --at send no queries; leave --model and --sample out")


def _read(db: Path, run: int | None, wanted: tuple[list[str], str | None], given: ReplayInputs, as_json: bool) -> None:
    from studies.replay.other_rules import replayed
    from studies.scan.overrides import whole_numbers

    rules, at = [_rule(text) for text in wanted[0]], whole_numbers("--at", wanted[1])
    with progress_bar(f"read {db.name}", quiet=as_json) as progress:
        readings = replayed(db, run, rules, at, given, progress)
    if as_json:
        print_json([reading.to_json() for reading in readings])
    else:
        _show_readings(readings)


def _show_readings(readings: Sequence[Reading]) -> None:
    """Print a table of the readings, and the notes of each below it."""
    rows = [reading.to_json() | {"rule": f"{reading.rule}={reading.limit:g}"} for reading in readings]
    print_table([row | {"held": "yes" if row["held"] else "no"} for row in rows], READING_COLUMNS)
    for row in rows:
        if row["notes"]:
            budget = "" if row["at"] is None else f" at {row['at']:,}"
            echo(f"{row['rule']}{budget}: {row['notes']}")


def _rule(text: str) -> Rule:
    import math
    from dataclasses import replace

    from simkit.errors import ConfigError
    from simkit.search.presets import rule

    name, equals, number = text.partition("=")
    chosen = rule(name)
    if not equals:
        return chosen
    try:
        threshold = float(number)
    except ValueError:
        threshold = math.nan
    if not math.isfinite(threshold):
        raise ConfigError(f"--rule {text!r}: write NAME=THRESHOLD, for example below_median=0.25")
    return replace(chosen, threshold=threshold, source="set for this replay")


def _own_code(preset: str | None, restriction: str | None) -> OwnCode:
    from simkit.references import referred
    from studies.ledgers.run_settings import OwnCode

    return OwnCode(*(None if name is None else referred(name) for name in (preset, restriction)))


def show(result: ReplayResult) -> None:
    """Print how many queries were rebuilt, sent again and equal."""
    compared = result.compared
    model = result.model if result.same_model else f"{result.model}, which is not the run's: differences are expected"
    echo(f"run {result.run}: {result.stored:,} queries stored, {result.rebuilt:,} rebuilt; model: {model}")
    echo(f"{result.asked:,} sent again in whole calls, {compared.queries:,} compared: {compared.equal:,} equal")
    if compared.different:
        largest = "" if compared.largest is None else f"; the largest difference of a score is {compared.largest:.3g}"
        echo(f"{compared.different:,} different, {compared.labels:,} of them with another top class{largest}")
    for reason, queries in result.not_replayable.items():
        echo(f"{queries:,} not replayable: {reason}")
    if result.verdict is not None:
        echo("the verdict follows from the answers" if result.verdict else "the answers lead to another verdict")
    for difference in result.made_with:
        echo(f"made with {difference}")


def _failure(result: ReplayResult) -> str:
    if result.compared.different:
        rest = f"; {result.broken}" if result.broken else ""
        return f"{result.compared.different} of {result.compared.queries} answers differ{rest}"
    return result.broken or "its answers lead to another verdict"
