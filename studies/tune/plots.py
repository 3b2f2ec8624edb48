"""What tuning came to as pictures: which setting matters, what each value came to, and the front."""

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
"""Panels beside each other."""


def plots(group: Tuned) -> list[Drawing]:
    """Importance, slices, and of two objectives the front; without those that there is nothing to draw of.

    Equal trials give equal bytes on one machine.
    """
    shares = importances(group)
    told = [one for one in _all(group) if one.auroc is not None]
    found = []
    if shares:
        alt = "How much each setting matters to AUROC: " + ", ".join(f"{n} {s:.0%}" for n, s in shares.items())
        found.append(_plot(group, "importance", "What matters", alt, lambda: _importance(shares), _shares_csv(shares)))
    if told:
        alt = f"AUROC of each of {len(told)} trials over the value of each setting"
        found.append(_plot(group, "slice", "What each value came to", alt, lambda: _slices(told), _trials_csv(group)))
    if group.mode == "pareto" and (ended := [one for one in told if one.state == "complete"]):
        alt = f"AUROC over mean queries a scan of {len(ended)} trials, and the front of those that no other beats"
        found.append(_plot(group, "front", "AUROC against queries", alt, lambda: _front(ended), _trials_csv(group)))
    return found


def _all(group: Tuned) -> list[Tried]:
    return [one for of_seed in group.trials.values() for one in of_seed]


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
    axes.set_xlabel("share of what AUROC owes to settings (PED-ANOVA)")
    plain(axes)
    return figure


def _slices(told: Sequence[Tried]) -> Figure:
    from matplotlib.figure import Figure

    names = sorted({name for one in told for name in one.values})
    columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(0.9 + 3.1 * columns, 0.6 + 2.7 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes, name in zip(panels, names, strict=False):
        _slice(axes, name, told)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("AUROC")
    if any(one.state == "pruned" for one in told):
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _slice(axes: Axes, name: str, told: Sequence[Tried]) -> None:
    looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("pruned", "pruned: AUROC at its last checkpoint", {"marker": "x", "color": _GREY, "linewidths": 1.2}),
        ("complete", "to the end", {"marker": "o", "color": _BLUE, "alpha": 0.75, "linewidths": 0}),
    )
    known = next(one.distributions[name] for one in told if name in one.distributions)
    for state, label, look in looks:
        own = [one for one in told if one.state == state and name in one.values]
        values = [_position(known, one.values[name]) for one in own]
        axes.scatter(values, [one.auroc or 0.0 for one in own], s=26, label=label, **look)
    if isinstance(known, CategoricalDistribution):
        axes.set_xticks(range(len(known.choices)), [str(choice) for choice in known.choices])
    elif getattr(known, "log", False):
        logarithmic(axes, "x", (1.0, 3.0))
    axes.set_xlabel(name.removeprefix("search."))
    plain(axes)


def _position(known: Any, value: Any) -> float:
    return float(known.to_internal_repr(value))


def _front(ended: Sequence[Tried]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes, best = figure.subplots(), front(ended)
    axes.scatter(*_points(ended), s=26, color=_GREY, linewidths=0, label="trials")
    axes.plot(*_points(best), color=_RED, marker="o", markersize=6, drawstyle="steps-post", label="no other beats it")
    in_short(axes.xaxis)
    axes.set_xlabel("mean queries a scan")
    axes.set_ylabel("AUROC")
    axes.legend(frameon=False, loc="lower right")
    plain(axes)
    return figure


def _points(trials: Sequence[Tried]) -> tuple[list[float], list[float]]:
    return [one.attributes["mean_queries"] for one in trials], [one.auroc or 0.0 for one in trials]


def _shares_csv(shares: dict[str, float]) -> str:
    return csv_text(("setting", "importance"), shares.items())


def _trials_csv(group: Tuned) -> str:
    names = sorted({name for one in _all(group) for name in one.values})
    told = ("auroc", "mean_queries", "tpr", "fpr")
    return csv_text(("sampler_seed", "trial", "state", *names, *told), _rows(group, names))


def _rows(group: Tuned, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for seed, trials in group.trials.items():
        for one in trials:
            amounts = (one.attributes[name] for name in ("mean_queries", "tpr", "fpr"))
            yield seed, one.number, one.state, *(one.values.get(name) for name in names), one.auroc, *amounts
