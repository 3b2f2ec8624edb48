"""`simkit env`: record the trajectories of a zoo's victims once, and compare query policies on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.cli.help import Commands
from studies.cli.options import Data, Indices, Limit, OracleOption, Settings, ThreadsOption, ZooFolder
from studies.cli.output import echo, print_json, progress_bar, say
from studies.cli.study_scan import AsJson
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simkit.env.recording import Recording
    from studies.env.record import Recorded

app = typer.Typer(
    cls=Commands,
    help="Compare policies that allocate queries, on trajectories that are recorded once.",
    no_args_is_help=True,
)

OutFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of recordings, one file per victim; none is repeated.")
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Number of processes that record in parallel.")]


@app.command("record")
def record_zoo(  # noqa: PLR0913 (the options are the command's interface)
    zoo: ZooFolder,
    out: OutFolder,
    data: Data = None,
    oracle: OracleOption = "scores",
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    indices: Indices = None,
    limit: Limit = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run every arm of every victim of ZOO to its end: one search per class, and the race for all classes.

    The same command resumes where it was stopped.
    -s takes settings of a scan (seed, search_images ...) and, with the prefix `arms.`,
    those of the arms (arms.classes.grid, arms.shared.queries, arms.shared.largest_share ...).
    """
    from simkit.files import make_folder
    from simkit.zoo.manifest import Manifest
    from studies.env.record import Zoo, recorded_by
    from studies.study.executors import Workers
    from studies.study.plan import chosen

    manifest = Manifest.load(zoo)
    spec = manifest.spec
    shared = with_settings({"data": data or spec.data, "image_size": spec.image_size, "oracle": oracle}, settings or [])
    arms = shared.pop("arms", {})
    work = Zoo(zoo, spec.name, spec.split, out, shared, arms)
    work.check()
    victims, outcomes = chosen(manifest, indices, limit), []
    make_folder(out)
    with progress_bar("victims", quiet=as_json) as progress:
        progress(0, len(victims))
        for outcome in recorded_by(work, victims, Workers(workers, threads)):
            outcomes.append(outcome)
            progress(len(outcomes), len(victims))
            if outcome.message or not as_json:
                say(_words(outcome), err=bool(outcome.message))
    _tell(outcomes, as_json)


def _words(outcome: Recorded) -> str:
    victim = outcome.victim
    if outcome.state == "failed":
        return f"simkit: error: victim {victim.index}: {outcome.message}"
    summary = f"{victim.index:4d}  {victim.stratum}: {outcome.state}, {outcome.queries:,} queries"
    return f"simkit: warning: {summary}: {outcome.message}" if outcome.message else summary


def _tell(outcomes: Sequence[Recorded], as_json: bool) -> None:
    count = {state: sum(o.state == state for o in outcomes) for state in ("recorded", "there", "busy", "failed")}
    if as_json:
        print_json(count | {"queries": sum(o.queries for o in outcomes if o.state == "recorded")})
    else:
        echo(", ".join(f"{number} {state}" for state, number in count.items() if number))
    if count["failed"]:
        raise typer.Exit(1)


Recordings = Annotated[
    list[Path],
    typer.Argument(metavar="DIR...", help="Folders of recordings to compare policies on.", show_default=False),
]
TuneFolder = Annotated[
    list[Path],
    typer.Option("--tune", metavar="DIR", help="Folder of recordings to set budgets and beliefs on; may be repeated."),
]
Policies = Annotated[
    str | None, typer.Option("--policies", metavar="A,B,...", help="Names of policies; by default all.")
]
Targets = Annotated[
    str,
    typer.Option(
        "--budget-grid", metavar="Q,Q,...", help="Mean queries per victim, which are met on the tune victims."
    ),
]
Baseline = Annotated[
    str, typer.Option("--baseline", metavar="NAME", help="The policy that the others are compared with.")
]
LinesFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write one line per comparison; replaces the file.")
]

COLUMNS = (
    *("policy", "target", "queries", "score", "accuracy"),
    *("baseline queries", "baseline score", "baseline accuracy"),
)
DIFFERENCE = ("score difference", "95 %", "better")


@app.command("compare")
def compare_policies(  # noqa: PLR0913 (the options are the command's interface)
    folders: Recordings,
    tune: TuneFolder,
    names: Policies = None,
    grid: Targets = "1000,2000,5000,10000,20000",
    baseline: Baseline = "uniform",
    out: LinesFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare policies with a baseline, paired by recorded victim, at equal or fewer queries.

    A policy's budget is chosen on the tune victims;
    the baseline gets at least the queries that the policy spends on the compared victims.
    The mean difference is given with its bootstrap interval, which needs six victims.
    """
    from simkit.env.policies import POLICIES
    from simkit.files import write_atomically
    from studies.cli.output import print_table
    from studies.env.compare import compare, line
    from studies.scan.overrides import whole_numbers

    victims, tuning = _read(folders), _read(tune)
    chosen = names.split(",") if names else list(POLICIES)
    compared = compare(victims, tuning, chosen, whole_numbers("--budget-grid", grid), baseline)
    lines = [line(c, victims, tuning) for c in compared]
    if out is not None:
        write_atomically(out, "".join(f"{json.dumps(fields)}\n" for fields in lines).encode())
    if as_json:
        print_json(lines)
    elif lines:
        first = lines[0]
        echo(f"{first['victims']} victims of split {first['split']}, {first['clean']} of them clean")
        echo(f"each policy, and {baseline} with at least as many queries")
        print_table([_row(fields) for fields in lines], COLUMNS + DIFFERENCE)


def _read(folders: Sequence[Path]) -> list[Recording]:
    from simkit.env.recording import recordings

    return [recording for folder in folders for recording in recordings(folder)]


def _row(line: dict[str, Any]) -> dict[str, object]:
    ours, theirs, score = line["policy"], line["baseline"], line["score_difference"]
    row = {"policy": ours["policy"], "target": line["target"]}
    for prefix, side in (("", ours), ("baseline ", theirs)):
        row |= {f"{prefix}queries": round(side["queries"]), f"{prefix}score": round(side["score"], 3)}
        row |= {f"{prefix}accuracy": round(side["accuracy"], 3)}
    interval = "too few victims" if score["low"] is None else f"{score['low']:.3f} to {score['high']:.3f}"
    better = "yes" if line["better"] else "no"
    return row | {"score difference": round(score["mean"], 3), "95 %": interval, "better": better}
