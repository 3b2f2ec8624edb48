"""All cells of a study of detectors of probing, each done once; thresholds from the traffic of other victims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    report: Sequence[ZooOf],
    calibrate: ZooOf | None,
    study: WatchStudy,
    out: Path,
    told: Callable[[WatchLine, int, int], None] | None = None,
) -> list[WatchLine]:
    """The lines of the study, in `out`; those that are there are not done again.

    report: the zoos whose victims are asked. calibrate: the zoo on whose victims honest traffic sets thresholds: the
    highest score seen. told: called with each new line, its number and the number of all. Raises ConfigError, DataError
    before any query.
    """
    if "calibrated" in study.thresholds and calibrate is None:
        raise ConfigError("watch: thresholds are calibrated on a zoo of the split calibrate; name one, or only default")
    there: dict[tuple[object, ...], WatchLine] = {line.unit: line for line in read_lines(out)}
    targets = [target for zoo in report for target in zoo.targets("report", study)]
    others = [] if calibrate is None else calibrate.targets("calibrate", study)
    groups = _groups(list(_cells(study, _thresholds(study, others))))
    units = [_unit(target, cell, study) for target in targets for group in groups for cell in group]
    numbers = {unit: number for number, unit in enumerate(units, start=1)}
    for target, group in product(targets, groups):
        for line in _missing(target, group, study, there):
            append_line(out, line)
            there[line.unit] = line
            if told is not None:
                told(line, numbers[line.unit], len(units))
    return [there[unit] for unit in units]


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells whose traffic is sent once: those of one kind of traffic that log, since that changes no answer."""
    logging: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.action == "log":
            logging.setdefault((cell.traffic, cell.dodge), []).append(cell)
    return [*logging.values(), *([cell] for cell in cells if cell.action != "log")]


def _missing(
    target: Target, group: Sequence[Cell], study: WatchStudy, there: dict[tuple[object, ...], WatchLine]
) -> list[WatchLine]:
    """The lines of a group that are not there."""
    cells = [cell for cell in group if _unit(target, cell, study) not in there]
    if not cells:
        return []
    log = there.get(_unit(target, replace(cells[0], action="log"), study))
    if log is not None and log.first_alarm is None:  # what would follow an alarm never came
        return [log.model_copy(update={"action": cells[0].action})]
    return traffic(target, cells, study)


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
