"""`simkit study scan`: scan a whole zoo with any detectors."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simkit.home import home
from studies.cli.options import (
    Data,
    ExecutorOption,
    Indices,
    Limit,
    NewRunOption,
    OracleOption,
    Settings,
    ThreadsOption,
    WorkersOption,
    ZooFolder,
)
from studies.cli.output import progress_bar
from studies.cli.scan_progress import by_detector, name_of, tell, worked
from studies.scan.overrides import with_settings

if TYPE_CHECKING:
    from simkit.zoo.manifest import Manifest

Detectors = Annotated[
    list[str],
    typer.Option(
        "--detector", metavar="NAME", help="A name from simkit detectors, or your own as MODULE:NAME; may be repeated."
    ),
]
OutFile = Annotated[
    Path,
    typer.Option("--out", metavar="FILE.jsonl", help="The file of result lines, one per scan; no scan is repeated."),
]
BudgetOption = Annotated[int, typer.Option("--budget", metavar="N", help="Query budget per victim.")]
LedgerFolder = Annotated[
    Path | None,
    typer.Option(
        "--ledgers", metavar="DIR", help="Folder of ledgers, one per scan; by default studies/ZOO in SIMKIT_HOME."
    ),
]
OnlyComplete = Annotated[bool, typer.Option("--only-complete", help="Refuse a zoo that is still being made.")]
SameImages = Annotated[
    bool,
    typer.Option(
        "--same-images",
        help="Scan every victim with the very seed, so with the same images; by default it follows from the victim's.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def scan_zoo(  # noqa: PLR0913 (the options are the command's interface)
    zoo: ZooFolder,
    detector: Detectors,
    out: OutFile,
    data: Data = None,
    budget: BudgetOption = 300_000,
    oracle: OracleOption = "scores",
    ledgers: LedgerFolder = None,
    workers: WorkersOption = 1,
    threads: ThreadsOption = 1,
    executor: ExecutorOption = "processes",
    indices: Indices = None,
    limit: Limit = None,
    only_complete: OnlyComplete = False,
    same_images: SameImages = False,
    settings: Settings = None,
    new_run: NewRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Scan the victims of ZOO with every named detector, and write one result line per scan.

    The same command resumes where it was stopped, and includes victims made since.
    A failing scan does not stop the others: it is reported at the end, has no result line, and the exit code is 1.
    """
    from simkit.errors import ConfigError
    from simkit.zoo.manifest import Manifest
    from studies.study.detectors import method
    from studies.study.executors import Workers
    from studies.study.plan import chosen, ledgers_of, plan
    from studies.study.unit import Study

    manifest = Manifest.load(zoo)
    _check_complete(manifest, only_complete)
    spec, methods = manifest.spec, [method(name) for name in dict.fromkeys(detector)]
    if oracle != "scores" and all(method.white_box for method in methods):
        raise ConfigError(f"{detector[0]} is white-box and queries no service; leave --oracle out")
    of_images = {"data": data or spec.data, "image_size": spec.image_size, "image_shape": manifest.image_shape}
    shared = with_settings(of_images | {"budget": budget, "oracle": oracle}, settings or [])
    where = zoo, spec.name, spec.split, out, ledgers or ledgers_of(home(), spec.name)
    study = Study(*where, shared, same_images=same_images)
    who = Workers(workers, threads, executor)
    work = plan(study.absolute() if who.elsewhere else study, chosen(manifest, indices, limit), methods)
    with progress_bar("scans", quiet=as_json) as progress:
        scans, counted = len(work.todo), itertools.count(1)
        progress(0, scans)
        outcomes = worked(
            [replace(unit, new_run=new_run) for unit in work.todo],
            who,
            lambda outcome: progress(next(counted), scans, name_of(outcome, by_detector)),
            quiet=as_json,
            naming=by_detector,
        )
    tell(outcomes, work.done, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _check_complete(manifest: Manifest, wanted: bool) -> None:
    from simkit.errors import ConfigError

    if wanted and not manifest.complete:
        made = f"{len(manifest.victims)} of {manifest.spec.models} victims"
        raise ConfigError(f"zoo {manifest.spec.name} has only {made}; make the others, or leave --only-complete out")
