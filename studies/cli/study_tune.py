"""`simkit study tune`: choose the settings of a detector on the victims of `tune` zoos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from studies.cli.options import NewRunOption, write_out
from studies.cli.output import echo, print_json, print_table, progress_bar, say

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
    typer.Option("--at", metavar="N", min=1, help="Maximise AUROC at N queries per scan.", show_default=False),
]
Pareto = Annotated[bool, typer.Option("--pareto", help="Trade AUROC against queries, up to the file's budget.")]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", min=1, help="Total number of trials; by default as in the study file.", show_default=False
    ),
]
SamplerOption = Annotated[
    Sampler | None,
    typer.Option("--sampler", help="Optuna's sampler; by default as in the study file.", show_default=False),
]
SamplerSeed = Annotated[
    int | None,
    typer.Option(
        "--sampler-seed",
        metavar="S",
        min=0,
        help="Seed of the sampler; another seed starts another study.",
        show_default=False,
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Optuna's tables: sqlite:///FILE or postgresql://USER@HOST/DB.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Number of processes; several require PostgreSQL.", show_default=False),
]
Show = Annotated[bool, typer.Option("--show", help="Show the trials so far without running any.")]
Best = Annotated[
    Path | None,
    typer.Option(
        "--best",
        metavar="OUT.toml",
        help="Write the best settings here, for simkit scan --settings, without running trials.",
        show_default=False,
    ),
]
TrialOption = Annotated[
    int | None,
    typer.Option(
        "--trial", metavar="N", min=0, help="With --best: write the settings of this trial.", show_default=False
    ),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots", metavar="DIR", help="Draw all tuning of this file without running trials.", show_default=False
    ),
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
    new_run: NewRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Tune a detector on the victims of tune zoos: find the settings with the best AUROC for N queries per scan.

    By default it tunes B3D's lambda, sigma and k (search.sparsity.weight, search.sigma and search.samples).
    Each trial scans every victim with one choice of settings, in a ledger of its own.
    The same command resumes where it was stopped.
    Evaluate the best settings on report victims, since figures on tune victims are biased upwards.
    """
    from studies.study.study_file import StudyFile
    from studies.tune.prepare import task_of

    mode = _mode(at, pareto)
    given = {"trials": trials, "sampler": sampler, "seed": sampler_seed, "storage": storage, "workers": workers}
    changes = {name: value for name, value in given.items() if value is not None}
    study = StudyFile.load(file)
    task = replace(task_of(study, mode, at, changes), new_run=new_run)
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
        raise ConfigError("give --at BUDGET to tune for one budget, or --pareto to trade AUROC against queries")
    return "pareto" if pareto else "at"


def _tune(task: Task, *, quiet: bool) -> None:
    from studies.tune.best import tried
    from studies.tune.objective import ScanObjective
    from studies.tune.run import tune

    with progress_bar("tuning", quiet=quiet) as progress:
        make = ScanObjective if task.config.workers > 1 else partial(ScanObjective, progress=progress)
        for trial in tune(task, make):
            if not quiet:
                say(_words(tried(trial)))


def _words(trial: Tried) -> str:
    """A trial in one line."""
    settings = " ".join(f"{name}={_short(value)}" for name, value in trial.values.items())
    if trial.state == "failed":
        return f"{trial.number:4d}  failed: {trial.attributes['error'] or 'unknown reason'}, {settings}"
    area = "AUROC -" if trial.auroc is None else f"AUROC {trial.auroc:.3f}"
    queries = trial.attributes["mean_queries"]
    cost = "" if queries is None or trial.state == "pruned" else f", {queries:,.0f} queries per scan"
    feasible = "" if trial.feasible else ", FPR above the allowed one"
    return f"{trial.number:4d}  {area}{' when pruned' if trial.state == 'pruned' else ''}{cost}{feasible}, {settings}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell(task: Task, *, as_json: bool) -> None:
    from studies.tune.best import all_tried, best
    from studies.tune.storage import read, shown

    study = read(task)
    every = all_tried(study)
    best_trials = best(study) if any(trial.state == "complete" and trial.feasible for trial in every) else []
    if as_json:
        about = {"study": task.study_name, "storage": shown(task.storage), "folder": str(task.folder)}
        tuned = {"trials": [trial.to_json() for trial in every], "best": [trial.number for trial in best_trials]}
        print_json(about | {"mode": task.mode, "budget": task.budget} | tuned)
        return
    states = ("complete", "pruned", "failed", "under way")
    count = {state: sum(trial.state == state for trial in every) for state in states}
    victims = [victim for _, of_zoo in task.zoos for victim in of_zoo]
    backdoored = sum(victim.truth == "backdoored" for victim in victims)
    each = f"each AUROC is of {backdoored} backdoored and {len(victims) - backdoored} clean scans"
    echo(f"{task.study_name}: {', '.join(f'{n} {state}' for state, n in count.items() if n)}; {each}")
    rows = [_row(trial) for trial in best_trials]
    if rows:
        print_table(rows, list(rows[0]))


def _row(trial: Tried) -> Mapping[str, object]:
    figures = {name: trial.attributes[name] for name in ("tpr", "fpr", "undecided", "mean_queries")}
    return {"trial": trial.number, "auroc": trial.auroc, **figures, **trial.values}


def _write_best(task: Task, out: Path, number: int | None, file: Path) -> None:
    from studies.render.destinations import checked_place
    from studies.tune.best import all_tried, best, settings_file
    from studies.tune.storage import read

    place, study = checked_place(out, [file], (".toml",)), read(task)
    trial = _numbered(all_tried(study), number) if number is not None else best(study)[-1]
    write_out(place, settings_file(task, trial).encode(), aside=True)


def _draw(study: StudyFile, folder: Path, storage: str | None) -> None:
    """Write each figure as PNG, SVG and CSV."""
    from simkit.errors import DataError
    from simkit.files import make_folder
    from studies.tune.history import tuned
    from studies.tune.plots import plots

    drawn = [plot for group in tuned(study, storage) for plot in plots(group)]
    if not drawn:
        raise DataError(f"{study.path.name}: nothing was tuned yet; leave out --plots to start")
    make_folder(folder)
    for plot in drawn:
        for suffix, content in (("png", plot.png), ("svg", plot.svg), ("csv", plot.csv.encode())):
            write_out(folder / f"{plot.name}.{suffix}", content, aside=True)


def _numbered(every: Sequence[Tried], number: int) -> Tried:
    from simkit.errors import ConfigError

    trial = next((trial for trial in every if trial.number == number), None)
    if trial is None:
        raise ConfigError(f"--trial {number}: there are trials 0 to {len(every) - 1}")
    return trial
