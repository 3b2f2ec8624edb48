"""`simkit study tune`: settings of a detector, chosen on the victims of `tune` zoos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from studies.cli.options import write_out
from studies.cli.output import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from studies.study.study_file import StudyFile
    from studies.tune.best import Tried
    from studies.tune.task import Mode, Task

Sampler: TypeAlias = Literal["tpe", "random", "nsga2"]

StudyPath = Annotated[
    Path, typer.Argument(metavar="FILE.toml", help="A study file with a [tune] table.", show_default=False)
]
At = Annotated[
    int | None,
    typer.Option("--at", metavar="N", min=1, help="The best AUROC for N queries a scan.", show_default=False),
]
Pareto = Annotated[bool, typer.Option("--pareto", help="AUROC against queries, up to the file's budget.")]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="Settings to try in all; by default the file's.", show_default=False),
]
SamplerOption = Annotated[Sampler | None, typer.Option("--sampler", help="Instead of the file's.", show_default=False)]
SamplerSeed = Annotated[
    int | None,
    typer.Option("--sampler-seed", metavar="S", min=0, help="Another seed is another study.", show_default=False),
]
Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/DB.", show_default=False),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; several need PostgreSQL.", show_default=False)
]
Show = Annotated[bool, typer.Option("--show", help="Tell what was tried, and try nothing.")]
Best = Annotated[
    Path | None,
    typer.Option(
        "--best", metavar="OUT.toml", help="Write the best setting here, and try nothing.", show_default=False
    ),
]
TrialOption = Annotated[
    int | None, typer.Option("--trial", metavar="N", min=0, help="With --best: of this trial.", show_default=False)
]
Plots = Annotated[
    Path | None,
    typer.Option("--plots", metavar="DIR", help="Draw all that this file tuned, and try nothing.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def tune_study(  # noqa: PLR0913 (the options are the command's interface)
    file: StudyPath,
    at: At = None,
    pareto: Pareto = False,
    trials: Trials = None,
    sampler: SamplerOption = None,
    sampler_seed: SamplerSeed = None,
    storage: Storage = None,
    workers: Workers = None,
    show: Show = False,
    best: Best = None,
    trial: TrialOption = None,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:
    """Try settings of a detector on the victims of tune zoos, and keep those that tell them best for N queries.

    Each trial scans every victim under one setting, in a ledger of its own. The same command goes on where it was
    stopped. The best setting is for report victims: figures of tune victims flatter it.
    """
    from studies.study.study_file import StudyFile
    from studies.tune.prepare import task_of

    mode = _mode(at, pareto)
    given = {"trials": trials, "sampler": sampler, "seed": sampler_seed, "storage": storage, "workers": workers}
    changes = {name: value for name, value in given.items() if value is not None}
    study = StudyFile.load(file)
    task = task_of(study, mode, at, changes)
    if best is not None:
        _write_best(task, best, trial, file)
    if plots is not None:
        _draw(study, plots, storage)
    if show or (best is None and plots is None):
        if not show:
            _tune(task, quiet=as_json)
        _tell(task, as_json=as_json)


def _mode(at: int | None, pareto: bool) -> Mode:
    from simkit.errors import ConfigError

    if (at is None) != pareto:
        raise ConfigError("give --at BUDGET for the best at one budget, or --pareto for AUROC against queries")
    return "pareto" if pareto else "at"


def _tune(task: Task, *, quiet: bool) -> None:
    from studies.tune.best import tried
    from studies.tune.objective import ScanObjective
    from studies.tune.run import tune

    with progress_bar("tuning", quiet=quiet) as progress:
        make = ScanObjective if task.config.workers > 1 else partial(ScanObjective, told=progress)
        for trial in tune(task, make):
            if not quiet:
                say(_words(tried(trial)))


def _words(one: Tried) -> str:
    """A trial in one line."""
    settings = " ".join(f"{name}={_short(value)}" for name, value in one.values.items())
    if one.state == "failed":
        return f"{one.number:4d}  failed: {one.attributes['error'] or 'no reason is known'}, {settings}"
    area = "AUROC -" if one.auroc is None else f"AUROC {one.auroc:.3f}"
    queries = one.attributes["mean_queries"]
    said = "" if queries is None or one.state == "pruned" else f", {queries:,.0f} queries a scan"
    kept = "" if one.feasible else ", more false alarms than allowed"
    return f"{one.number:4d}  {area}{' when pruned' if one.state == 'pruned' else ''}{said}{kept}, {settings}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell(task: Task, *, as_json: bool) -> None:
    from studies.tune.best import all_tried, best
    from studies.tune.storage import read, shown

    study = read(task)
    every = all_tried(study)
    found = best(study) if any(one.state == "complete" and one.feasible for one in every) else []
    if as_json:
        told = {"study": task.study_name, "storage": shown(task.storage), "folder": str(task.folder)}
        tuned = {"trials": [one.to_json() for one in every], "best": [one.number for one in found]}
        print_json(told | {"mode": task.mode, "budget": task.budget} | tuned)
        return
    count = {state: sum(one.state == state for one in every) for state in ("complete", "pruned", "failed", "under way")}
    typer.echo(f"{task.study_name}: " + ", ".join(f"{n} {state}" for state, n in count.items() if n))
    rows = [_row(one) for one in found]
    if rows:
        print_table(rows, list(rows[0]))


def _row(one: Tried) -> Mapping[str, object]:
    told = {name: one.attributes[name] for name in ("tpr", "fpr", "undecided", "mean_queries")}
    return {"trial": one.number, "auroc": one.auroc, **told, **one.values}


def _write_best(task: Task, out: Path, number: int | None, file: Path) -> None:
    from studies.render.destinations import checked_place
    from studies.tune.best import all_tried, best, snippet
    from studies.tune.storage import read

    place, study = checked_place(out, [file], (".toml",)), read(task)
    one = _numbered(all_tried(study), number) if number is not None else best(study)[-1]
    write_out(place, snippet(task, one).encode(), aside=True)


def _draw(study: StudyFile, folder: Path, storage: str | None) -> None:
    """Each figure as PNG, SVG and CSV."""
    from simkit.errors import DataError
    from simkit.files import make_folder
    from studies.tune.history import tuned
    from studies.tune.plots import plots

    drawn = [plot for group in tuned(study, storage) for plot in plots(group)]
    if not drawn:
        raise DataError(f"{study.path.name}: nothing was tuned yet; leave out --plots to begin")
    make_folder(folder)
    for plot in drawn:
        for ending, said in (("png", plot.png), ("svg", plot.svg), ("csv", plot.csv.encode())):
            write_out(folder / f"{plot.name}.{ending}", said, aside=True)


def _numbered(every: Sequence[Tried], number: int) -> Tried:
    from simkit.errors import ConfigError

    found = next((one for one in every if one.number == number), None)
    if found is None:
        raise ConfigError(f"--trial {number}: there are trials 0 to {len(every) - 1}")
    return found
