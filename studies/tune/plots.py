"""Figures of tuning: the importance of each setting, AUROC over the values of each setting, and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution

from studies.render.figures import COLOURS, Drawing, csv_text, in_short, logarithmic, plain
from studies.tune.best import Tried, front
from studies.tune.history import Tuned, importances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _RED, _GREY = COLOURS[0], COLOURS[1], "#8a939c"
_COLUMNS = 3
"""Maximum number of panels side by side."""


def plots(group: Tuned) -> list[Drawing]:
    """The figures that have data: importance, slices, and for two objectives the Pareto front.

    Equal trials give equal bytes on one machine.
    """
    shares = importances(group)
    scored = [trial for trial in _all(group) if trial.auroc is not None]
    drawings = []
    if shares:
        alt = "Importance of each setting for AUROC: " + ", ".join(f"{n} {s:.0%}" for n, s in shares.items())
        draw, csv = (lambda: _importance(shares)), _shares_csv(shares)
        drawings.append(_plot(group, "importance", "Importance of settings", alt, draw, csv))
    if scored:
        alt = f"AUROC of each of {len(scored)} trials over the value of each setting"
        draw, csv = (lambda: _slices(scored)), _trials_csv(group)
        drawings.append(_plot(group, "slice", "AUROC by value of each setting", alt, draw, csv))
    if group.mode == "pareto" and (ended := [trial for trial in scored if trial.state == "complete"]):
        alt = f"AUROC over mean queries per scan of {len(ended)} trials, and the Pareto front"
        drawings.append(_plot(group, "front", "AUROC against queries", alt, lambda: _front(ended), _trials_csv(group)))
    return drawings


def _all(group: Tuned) -> list[Tried]:
    return [trial for of_seed in group.trials.values() for trial in of_seed]


def _plot(group: Tuned, name: str, what: str, alt: str, draw: Callable[[], Figure], text: str) -> Drawing:
    return Drawing.of(f"tune-{group.name}-{name}", f"{what}: {group.title}", alt, draw, text)


def _importance(shares: dict[str, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.9 + 0.42 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()), color=_BLUE, height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=4, fontsize=9.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("importance for AUROC (PED-ANOVA)")
    plain(axes)
    return figure


def _slices(scored: Sequence[Tried]) -> Figure:
    from matplotlib.figure import Figure

    names = sorted({name for trial in scored for name in trial.values})
    columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(0.9 + 3.1 * columns, 0.6 + 2.7 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, name in zip(panels, names, strict=False):
        _slice(axes, name, scored)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("AUROC")
    if any(trial.state == "pruned" for trial in scored):
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _slice(axes: Axes, name: str, scored: Sequence[Tried]) -> None:
    looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("pruned", "pruned: AUROC at its last checkpoint", {"marker": "x", "color": _GREY, "linewidths": 1.2}),
        ("complete", "complete", {"marker": "o", "color": _BLUE, "alpha": 0.75, "linewidths": 0}),
    )
    distribution = next(trial.distributions[name] for trial in scored if name in trial.distributions)
    for state, label, look in looks:
        own = [trial for trial in scored if trial.state == state and name in trial.values]
        values = [_position(distribution, trial.values[name]) for trial in own]
        axes.scatter(values, [trial.auroc or 0.0 for trial in own], s=26, label=label, **look)
    if isinstance(distribution, CategoricalDistribution):
        axes.set_xticks(range(len(distribution.choices)), [str(choice) for choice in distribution.choices])
    elif getattr(distribution, "log", False):
        logarithmic(axes, "x", (1.0, 3.0))
    axes.set_xlabel(name.removeprefix("search."))
    plain(axes)


def _position(distribution: Any, value: Any) -> float:
    return float(distribution.to_internal_repr(value))


def _front(ended: Sequence[Tried]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes, best = figure.subplots(), front(ended)
    axes.scatter(*_points(ended), s=26, color=_GREY, linewidths=0, label="trials")
    axes.plot(*_points(best), color=_RED, marker="o", markersize=6, drawstyle="steps-post", label="Pareto front")
    in_short(axes.xaxis)
    axes.set_xlabel("mean queries per scan")
    axes.set_ylabel("AUROC")
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
    return figure


def _points(trials: Sequence[Tried]) -> tuple[list[float], list[float]]:
    return [trial.attributes["mean_queries"] for trial in trials], [trial.auroc or 0.0 for trial in trials]


def _shares_csv(shares: dict[str, float]) -> str:
    return csv_text(("setting", "importance"), shares.items())


def _trials_csv(group: Tuned) -> str:
    names = sorted({name for trial in _all(group) for name in trial.values})
    figures = ("auroc", "mean_queries", "tpr", "fpr")
    return csv_text(("sampler_seed", "trial", "state", *names, *figures), _rows(group, names))


def _rows(group: Tuned, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for seed, trials in group.trials.items():
        for trial in trials:
            amounts = (trial.attributes[name] for name in ("mean_queries", "tpr", "fpr"))
            values = (trial.values.get(name) for name in names)
            yield seed, trial.number, trial.state, *values, trial.auroc, *amounts
