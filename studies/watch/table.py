"""Lines of a study of detectors of probing as a table and a figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.render.figures import COLOURS, Drawing, axes_to_draw_on, csv_text, logarithmic, plain
from studies.render.formats import ends
from studies.statistics import Share, share
from studies.watch.config import WatchLine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    *("traffic", "dodge", "detector", "threshold", "action", "victims"),
    *("with alarm", "queries until alarm", "detected", "false positives", "queries", "honest"),
)


@dataclass(frozen=True)
class Row:
    """One kind of traffic under one detector and action, over the victims.

    seen: victims on which an alarm was raised. until: median queries until the alarm, where there was one. detected,
    accused: of the backdoored and of the clean victims, those that got the verdict `backdoored`; None for clients.
    queries: median. honest: share of honest images among all.
    """

    traffic: str
    dodge: str
    detector: str
    source: str
    action: str
    victims: int
    seen: Share
    until: float | None
    detected: Share | None
    accused: Share | None
    queries: float
    honest: float

    @property
    def plain(self) -> dict[str, object]:
        """The row as texts under COLUMNS."""
        values = (
            *(self.traffic, self.dodge, self.detector, self.source, self.action, self.victims),
            *(_told(self.seen), "-" if self.until is None else f"{self.until:,.0f}"),
            *(_told(self.detected), _told(self.accused), f"{self.queries:,.0f}", f"{self.honest:.0%}"),
        )
        return dict(zip(COLUMNS, values, strict=True))


def _told(counted: Share | None) -> str:
    """Hits, trials and the 95 % Wilson interval in per cent."""
    return f"{counted.hits}/{counted.trials} ({ends(counted, '-')} %)" if counted and counted.trials else "-"


def rows(lines: Sequence[WatchLine]) -> list[Row]:
    """One row for each kind, in the order in which they first occur."""
    groups: dict[tuple[str, ...], list[WatchLine]] = {}
    for line in lines:
        kind = (line.traffic, line.dodge, line.detector, line.threshold_from, line.action)
        groups.setdefault(kind, []).append(line)
    return [_row(kind, group) for kind, group in groups.items()]


def _row(kind: tuple[str, ...], group: Sequence[WatchLine]) -> Row:
    traffic, dodge, detector, source, action = kind
    said = {
        truth: share(sum(line.verdict == "backdoored" for line in group if line.truth == truth), count)
        for truth in ("backdoored", "clean")
        for count in [sum(line.truth == truth for line in group)]
    }
    firsts = [line.first_alarm for line in group if line.first_alarm is not None]
    return Row(
        *(traffic, dodge, detector, source, action),
        victims=len(group),
        seen=share(len(firsts), len(group)),
        until=statistics.median(firsts) if firsts else None,
        detected=None if group[0].honest else said["backdoored"],
        accused=None if group[0].honest else said["clean"],
        queries=statistics.median(line.queries for line in group),
        honest=sum(line.honest_queries for line in group) / max(1, sum(line.queries for line in group)),
    )


def drawing(lines: Sequence[WatchLine]) -> Drawing:
    """Queries until the first alarm for each traffic and detector, under default thresholds."""
    shown = [row for row in rows(lines) if row.action == "log" and row.source == "default"]
    kinds = list(dict.fromkeys((row.traffic, row.dodge) for row in shown))
    detectors = list(dict.fromkeys(row.detector for row in shown))

    def draw() -> Figure:
        with axes_to_draw_on(None, (7.0, 0.6 + 0.32 * len(kinds))) as axes:
            for number, detector in enumerate(detectors):
                own = [row for row in shown if row.detector == detector]
                height = [kinds.index((row.traffic, row.dodge)) + 0.2 * (number - 1) for row in own]
                colour = COLOURS[number % len(COLOURS)]
                until = [row.until for row in own]
                x = [row.queries if u is None else u for row, u in zip(own, until, strict=True)]
                seen = [u is not None for u in until]
                axes.scatter(
                    [v for v, s in zip(x, seen, strict=True) if s],
                    [h for h, s in zip(height, seen, strict=True) if s],
                    color=colour,
                    label=detector,
                )
                axes.scatter(
                    [v for v, s in zip(x, seen, strict=True) if not s],
                    [h for h, s in zip(height, seen, strict=True) if not s],
                    edgecolors=colour,
                    facecolors="none",
                )
            axes.set_yticks(range(len(kinds)), [t if d == "plain" else f"{t}, dodging: {d}" for t, d in kinds])
            axes.invert_yaxis()
            logarithmic(axes, "x", (1.0, 3.0))
            plain(axes)
            axes.set_xlabel("queries until the first alarm (median)\nhollow: none in so many queries")
            axes.figure.legend(loc="outside upper center", ncols=len(detectors), frameon=False)
            figure = axes.figure
        return figure  # type: ignore[return-value]

    values = [(row.traffic, row.dodge, row.detector, row.until, row.queries) for row in shown]
    csv = csv_text(("traffic", "dodge", "detector", "until", "queries"), values)
    alt = "For each prober and client and each detector, the median queries until the first alarm."
    return Drawing.of("watch", "Queries until the first alarm", alt, draw, csv)
