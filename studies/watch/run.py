"""All cells of a study of detectors of probing, each done once; thresholds from the traffic of other victims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from simkit.data import load
from simkit.errors import ConfigError
from simkit.zoo.manifest import Manifest
from studies.study.plan import chosen
from studies.watch.config import Thresholds, WatchLine, WatchStudy, append_line, read_lines
from studies.watch.traffic import Cell, Target, default_threshold, top_score, traffic

NATURAL = 2_000
"""Number of natural images for clients and dodging probers, and as many others to calibrate on."""

_OTHER_SEED = 1_000_003


@dataclass(frozen=True)
class ZooOf:
    """A zoo, the images it is asked with, by default its own, and how many of its victims are used."""

    folder: Path
    data: str | None = None
    limit: int | None = None

    def targets(self, split: str, study: WatchStudy) -> list[Target]:
        """Its victims. Raises ConfigError for another split, DataError."""
        manifest = Manifest.load(self.folder)
        if manifest.spec.split != split:
            raise ConfigError(f"{self.folder} is of the split {manifest.spec.split!r}; name a zoo of {split!r}")
        data, size = self.data or manifest.spec.data, manifest.spec.image_size
        natural = load(data, "test", 2 * NATURAL, study.seed + _OTHER_SEED, size)
        half = len(natural) // 2  # no threshold is set on the images of the figures
        natural = natural.part(0, half) if split == "report" else natural.part(half, len(natural))
        settings = {"data": data, "image_size": size}
        victims = chosen(manifest, None, self.limit)
        return [Target(self.folder, manifest.spec, victim, settings, natural) for victim in victims]


def run_study(
    report: ZooOf,
    calibrate: ZooOf | None,
    study: WatchStudy,
    out: Path,
    told: Callable[[WatchLine, int, int], None] | None = None,
) -> list[WatchLine]:
    """The lines of the study, in `out`; those that are there are not done again.

    calibrate: the zoo on whose victims honest traffic sets thresholds: the highest score seen. told: called with each
    new line, its number and the number of all. Raises ConfigError, DataError before any query.
    """
    if "calibrated" in study.thresholds and calibrate is None:
        raise ConfigError("watch: thresholds are calibrated on a zoo of the split calibrate; name one, or only default")
    there = {line.unit: line for line in read_lines(out)}
    targets = report.targets("report", study)
    others = [] if calibrate is None else calibrate.targets("calibrate", study)
    cells = list(_cells(study, _thresholds(study, others)))
    units = [(target, cell) for target in targets for cell in cells]
    lines = []
    for number, (target, cell) in enumerate(units, start=1):
        known = there.get(_unit(target, cell, study))
        line = traffic(target, cell, study) if known is None else known
        if known is None:
            append_line(out, line)
            if told is not None:
                told(line, number, len(units))
        lines.append(line)
    return lines


def _thresholds(study: WatchStudy, others: Sequence[Target]) -> dict[tuple[str, Thresholds], float]:
    found: dict[tuple[str, Thresholds], float] = {}
    for detector, source in product(study.detectors, study.thresholds):
        if source == "default":
            found[detector, source] = default_threshold(detector)
        else:
            scores = [top_score(target, client, detector, study) for target in others for client in study.clients]
            found[detector, source] = max(scores, default=default_threshold(detector))
    return found


def _cells(study: WatchStudy, thresholds: dict[tuple[str, Thresholds], float]) -> Iterator[Cell]:
    for (detector, source), threshold in thresholds.items():
        for client in study.clients:
            yield Cell(client, "plain", detector, "log", source, threshold)
        for action, prober, dodge in product(study.actions, study.probers, study.dodges):
            if (detector, action) != ("prada", "cached"):
                yield Cell(prober, dodge, detector, action, source, threshold)


def _unit(target: Target, cell: Cell, study: WatchStudy) -> tuple[object, ...]:
    honest = cell.traffic in study.clients
    budget = study.honest_queries if honest else study.budget
    return (
        *(target.victim.sha256 or "", cell.traffic, cell.dodge, cell.detector, cell.action, cell.threshold_from),
        *(cell.threshold, budget, study.seed),
    )
