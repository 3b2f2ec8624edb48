"""`simkit env`: trajectories of a zoo's victims, recorded once, and policies compared on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.study_scan import AsJson, Data, Indices, Limit, OracleOption, Settings, Threads, ZooFolder
from studies.output import print_json, progress_bar
from studies.settings import with_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studies.env_record import Recorded

app = typer.Typer(help="Learn where to spend queries, on trajectories recorded once.", no_args_is_help=True)

OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="One small file a victim; none is repeated.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that record at once.")]


@app.command("record")
def record_zoo(  # noqa: PLR0913 (the options are the command's interface)
    zoo: ZooFolder,
    out: OutFolder,
    data: Data = None,
    oracle: OracleOption = "scores",
    workers: Workers = 1,
    threads: Threads = 1,
    indices: Indices = None,
    limit: Limit = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Ask every arm of every victim of ZOO to its end: a search of each class alone, and the race for all classes.

    The same command goes on where it was stopped. -s takes fields of a scan (seed, search_images ...), and with arms.
    in front those of the arms (arms.classes.grid, arms.shared.queries, arms.largest_share ...).
    """
    from simkit.files import make_folder
    from simkit.zoo.manifest import Manifest
    from studies.env_record import Zoo, recorded_by
    from studies.zoo_scan.plan import chosen

    manifest = Manifest.load(zoo)
    spec = manifest.spec
    shared = with_settings({"data": data or spec.data, "image_size": spec.image_size, "oracle": oracle}, settings or [])
    arms = shared.pop("arms", {})
    work = Zoo(zoo, spec.name, spec.split, out, shared, arms)
    work.check()
    make_folder(out)
    victims, outcomes = chosen(manifest, indices, limit), []
    with progress_bar("victims", quiet=as_json) as progress:
        progress(0, len(victims))
        for outcome in recorded_by(work, victims, workers, threads):
            outcomes.append(outcome)
            progress(len(outcomes), len(victims))
            if outcome.said or not as_json:
                typer.echo(_words(outcome), err=bool(outcome.said))
    _tell(outcomes, as_json)


def _words(outcome: Recorded) -> str:
    victim = outcome.victim
    if outcome.state == "failed":
        return f"simkit: error: victim {victim.index}: {outcome.said}"
    told = f"{victim.index:4d}  {victim.stratum}: {outcome.state}, {outcome.queries:,} queries"
    return f"simkit: warning: {told}: {outcome.said}" if outcome.said else told


def _tell(outcomes: Sequence[Recorded], as_json: bool) -> None:
    count = {state: sum(o.state == state for o in outcomes) for state in ("recorded", "there", "failed")}
    if as_json:
        print_json(count | {"queries": sum(o.queries for o in outcomes if o.state == "recorded")})
    else:
        typer.echo(", ".join(f"{number} {state}" for state, number in count.items() if number))
    if count["failed"]:
        raise typer.Exit(1)
