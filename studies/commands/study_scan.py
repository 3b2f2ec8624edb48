"""`simkit study scan`: any detectors over a whole zoo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from simkit.home import home
from studies.output import print_json, progress_bar
from studies.settings import with_settings

if TYPE_CHECKING:
    from simkit.zoo.manifest import Manifest
    from studies.result_line import ResultLine
    from studies.zoo_scan.plan import Plan
    from studies.zoo_scan.unit import Outcome

ZooFolder = Annotated[Path, typer.Argument(metavar="ZOO", help="A zoo's folder.", show_default=False)]
Detectors = Annotated[
    list[str],
    typer.Option("--detector", metavar="NAME", help="See simkit detectors; or your own, MODULE:NAME. May come again."),
]
OutFile = Annotated[
    Path, typer.Option("--out", metavar="FILE.jsonl", help="Of results, a line a scan; no scan is repeated.")
]
Data = Annotated[str | None, typer.Option("--data", metavar="DATA", help="As of simkit scan; by default the zoo's.")]
BudgetOption = Annotated[int, typer.Option("--budget", metavar="N", help="Queries a victim.")]
OracleOption = Annotated[str, typer.Option("--oracle", metavar="SPEC", help="As of simkit scan.")]
LedgerFolder = Annotated[
    Path | None,
    typer.Option("--ledgers", metavar="DIR", help="A ledger a scan; by default studies/ZOO in SIMKIT_HOME."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that scan at once.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of torch in each.")]
Indices = Annotated[str | None, typer.Option("--indices", metavar="0-19,25", help="Only these victims.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N victims, by index.")]
OnlyComplete = Annotated[bool, typer.Option("--only-complete", help="Refuse a zoo that is still being made.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="As of simkit scan: seed=1, search_images=64 ..."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


_STATES: Mapping[str, str] = MappingProxyType(
    {"scanned": "scanned", "there": "scanned before", "busy": "being scanned by another process", "failed": "failed"}
)


def scan_zoo(  # noqa: PLR0913 (the options are the command's interface)
    zoo: ZooFolder,
    detector: Detectors,
    out: OutFile,
    data: Data = None,
    budget: BudgetOption = 300_000,
    oracle: OracleOption = "scores",
    ledgers: LedgerFolder = None,
    workers: Workers = 1,
    threads: Threads = 1,
    indices: Indices = None,
    limit: Limit = None,
    only_complete: OnlyComplete = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Scan the victims of ZOO with every detector named, and keep a line of results for each scan.

    The same command goes on where it was stopped, and takes up victims that were made since. A scan that fails stops
    no other: it is told at the end, has no line, and the exit code is 1.
    """
    from simkit.zoo.manifest import Manifest
    from studies.zoo_scan.methods import method
    from studies.zoo_scan.plan import chosen, ledgers_of, plan
    from studies.zoo_scan.unit import Study

    manifest = Manifest.load(zoo)
    _check_complete(manifest, only_complete)
    spec, methods = manifest.spec, [method(name) for name in dict.fromkeys(detector)]
    of_images = {"data": data or spec.data, "image_size": spec.image_size, "image_shape": manifest.image_shape}
    told = of_images | {"budget": budget, "oracle": oracle}
    shared = with_settings(told, settings or [])
    study = Study(zoo, spec.name, spec.split, out, ledgers or ledgers_of(home(), spec.name), shared)
    outcomes = _worked(plan(study, chosen(manifest, indices, limit), methods), workers, threads, as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _check_complete(manifest: Manifest, wanted: bool) -> None:
    from simkit.errors import ConfigError

    if wanted and not manifest.complete:
        made = f"{len(manifest.victims)} of {manifest.spec.models} victims"
        raise ConfigError(f"zoo {manifest.spec.name} has {made}; make the others, or leave --only-complete out")


def _worked(work: Plan, workers: int, threads: int, as_json: bool) -> list[Outcome]:
    """Do the work, and tell of it: each scan as it ends, then what failed and what to be warned of."""
    from studies.zoo_scan.workers import work_through

    outcomes: list[Outcome] = []
    with progress_bar("scans", quiet=as_json) as progress:
        progress(0, len(work.todo))
        for outcome in work_through(work.todo, workers, threads):
            outcomes.append(outcome)
            progress(len(outcomes), len(work.todo), _name(outcome))
            if outcome.line is not None and not as_json:
                typer.echo(_words(outcome.line))
    for said in dict.fromkeys(_complaints(outcomes)):
        typer.echo(said, err=True)
    count = {state: sum(o.state == state for o in outcomes) for state in ("scanned", "there", "busy", "failed")}
    count["there"] += work.done
    if as_json:
        lines = [o.line.model_dump(mode="json") for o in outcomes if o.line is not None]
        print_json(count | {"lines": lines, "failures": [_failure(o) for o in outcomes if o.state == "failed"]})
    else:
        typer.echo(", ".join(f"{number} {_STATES[state]}" for state, number in count.items() if number) or "no scans")
    return outcomes


def _failure(outcome: Outcome) -> dict[str, object]:
    unit = outcome.unit
    return {"index": unit.victim.index, "detector": unit.detector, "error": "; ".join(outcome.said)}


def _name(outcome: Outcome) -> str:
    return f"{outcome.unit.detector} on victim {outcome.unit.victim.index}"


def _words(line: ResultLine) -> str:
    """A scan in one line, and whether it is right."""
    flagged = f" (class {', '.join(map(str, line.flagged))})" if line.flagged else ""
    passes = "weights" if line.forward_passes is None else f"{line.forward_passes:,} images forward"
    cost = f"{line.queries:,} queries" if line.asks else passes
    known = f"{line.index:4d}  {line.stratum}  {line.detector}: {line.verdict}{flagged}"
    why = f" ({line.notes})" if line.notes and line.verdict in ("undecided", "invalid") else ""
    return f"{known}, {'right' if line.right else 'wrong'}, {cost}, {line.seconds:.1f} s{why}"


def _complaints(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        for said in outcome.said if outcome.state != "failed" else ():
            yield f"simkit: warning: {said}"
    for outcome in outcomes:
        for said in outcome.said if outcome.state == "failed" else ():
            yield f"simkit: error: {_name(outcome)}: {said}"
