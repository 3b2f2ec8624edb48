"""A zoo of the gallery as one picture: original and reversed triggers of its victims, by trigger size or attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simkit.detectors.registry import TITLES
from studies.render.panels import Panel, draw_panels, trigger_panel
from studies.render.pictures import difference
from studies.report.gallery.gather import Backdoor, Shown, ShownVictim, ShownZoo


def draw_zoo(path: Path, zoo: ShownZoo) -> str | None:
    """Write the picture as SVG or PNG, by the suffix of `path`, with two columns per victim and two rows per stratum.

    Only the first backdoor of a victim is drawn. Returns the detector whose triggers are drawn, which is the one with
    triggers for most of these victims; None where there was no scan. Raises StorageError where the file cannot be
    written.
    """
    scans = (shown for victim in _victims(zoo) for shown in victim.backdoors[0].found)
    triggers = Counter(shown.detector for shown in scans if shown.trigger is not None)
    detector = min(triggers, key=lambda name: (-triggers[name], _rank(name))) if triggers else None
    rows = [[panel for victim in stratum.shown for panel in _panels(victim, detector)] for stratum in zoo.strata]
    title = f"{zoo.name}: original triggers,\nand triggers reversed by\n{detector}" if detector else zoo.name
    draw_panels(path, rows, [stratum.name for stratum in zoo.strata], title)
    return detector


def _rank(detector: str) -> tuple[int, str]:
    """The sort key of a detector: its place among the titles, which begin with simkit's own detectors."""
    return next((rank for rank, name in enumerate(TITLES) if detector.startswith(f"{name}, ")), len(TITLES)), detector


def _victims(zoo: ShownZoo) -> Iterator[ShownVictim]:
    return (victim for stratum in zoo.strata for victim in stratum.shown)


def _panels(victim: ShownVictim, detector: str | None) -> Iterator[Panel]:
    backdoor = victim.backdoors[0]
    yield _original(victim, backdoor)
    shown = next((shown for shown in backdoor.found if shown.detector == detector), None)
    if shown is None or shown.trigger is None:
        yield Panel("not scanned" if shown is None else f"{_outcome(shown, backdoor)},\nno trigger")
        return
    both = "" if shown.overlap is None else f", IoU {shown.overlap:.2f}"
    yield trigger_panel(f"{_outcome(shown, backdoor)}{both}", shown.trigger, backdoor.plain)


def _outcome(shown: Shown, backdoor: Backdoor) -> str:
    """Whether the scan flags the target class of this backdoor, another class, or none."""
    if backdoor.target_class in shown.flagged:
        return "flagged"
    return f"flags {', '.join(map(str, shown.flagged))}" if shown.flagged else shown.verdict


def _original(victim: ShownVictim, backdoor: Backdoor) -> Panel:
    title = f"{victim.index}: {backdoor.target}"
    if backdoor.original is not None:
        return trigger_panel(title, backdoor.original, backdoor.plain)
    added, times = difference(backdoor.plain, backdoor.triggered)
    return Panel(f"{title}\ndifference x{times:.1f}", added, backdoor.triggered)
