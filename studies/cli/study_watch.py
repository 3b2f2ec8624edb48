"""`simkit study watch`: detectors of probing against searchers and honest clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simkit.errors import ConfigError
from studies.cli.options import Data, Limit
from studies.cli.output import echo, print_json, print_table, say
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from studies.watch.config import WatchLine
    from studies.watch.study_file import WatchFile

ZooOrFile = Annotated[
    Path, typer.Argument(metavar="ZOO", help="A zoo's folder, or the TOML file of a study.", show_default=False)
]

OutFile = Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="The file of lines; none is done twice.")]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        "--calibrate", metavar="DIR", help="Zoo of the split calibrate, whose honest traffic sets thresholds."
    ),
]
FigureFile = Annotated[Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw the table as a picture.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="A setting of the study, such as dodges=plain,keys."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")]


def watch_study(  # noqa: PLR0913 (the options are the command's interface)
    zoo: ZooOrFile,
    out: OutFile,
    calibrate: Calibrate = None,
    data: Data = None,
    limit: Limit = None,
    figure: FigureFile = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Send the traffic of probers and honest clients to the victims of ZOO under each detector of probing and action.

    ZOO is of the split report, or a TOML file with zoos, calibrate, and settings. The same command resumes where it was
    stopped.
    -s takes probers, dodges, clients, detectors, actions, thresholds, budget, honest_queries, seed.
    A list is given as NAME=a,b.
    """
    from simkit.files import write_atomically
    from studies.watch.config import WatchStudy
    from studies.watch.run import run_study
    from studies.watch.table import COLUMNS, drawing, rows

    file = _asked(zoo, calibrate, data, limit)
    study = WatchStudy.of(_lists(with_settings(file.settings, settings or [])))
    lines = run_study(file.zoos, file.calibrate, study, out, None if as_json else _told)
    table = [row.plain for row in rows(lines)]
    if as_json:
        print_json(table)
    else:
        print_table(table, COLUMNS)
    if figure is not None:
        write_atomically(figure, drawing(lines).png)
        echo(f"drawn: {figure}")


def _asked(zoo: Path, calibrate: Path | None, data: str | None, limit: int | None) -> WatchFile:
    """The study in a file, or that of one zoo and the options. Raises ConfigError."""
    from studies.watch.run import ZooOf
    from studies.watch.study_file import WatchFile

    if zoo.suffix != ".toml":
        return WatchFile((ZooOf(zoo, data, limit),), None if calibrate is None else ZooOf(calibrate, data), {})
    if (calibrate, data, limit) != (None, None, None):
        raise ConfigError(f"--calibrate, --data and --limit are for the folder of a zoo; write them into {zoo.name}")
    return WatchFile.load(zoo)


def _told(line: WatchLine, number: int, of: int) -> None:
    alarm = "no alarm" if line.first_alarm is None else f"alarm at query {line.first_alarm}"
    say(
        f"{number}/{of}  victim {line.index} ({line.truth}), {line.traffic}, dodge {line.dodge}, {line.detector}, "
        f"{line.action}: {alarm}, {line.queries:,} queries, {line.verdict or 'honest'}"
    )


def _lists(fields: dict[str, Any]) -> dict[str, Any]:
    names = ("probers", "dodges", "clients", "detectors", "actions", "thresholds")
    return {
        name: tuple(value.split(",") if isinstance(value, str) else value) if name in names else value
        for name, value in fields.items()
    }
