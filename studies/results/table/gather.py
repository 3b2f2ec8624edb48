"""From lines of results to the records of a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from simkit.detectors.registry import TITLES
from simkit.errors import ConfigError
from simkit.zoo.spec import ZooSplit
from studies.ledgers.folders import scans_in
from studies.results.table.cells import GROUPS, breakdown, cell, pair
from studies.results.table.configurations import Config, configurations, runs_of
from studies.results.table.methods import key_of, methods
from studies.results.table.records import By, Key, Method, Table, Victims, ZooTable
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class Wanted:
    """Which part of the lines a table shows.

    split: the only one, since splits are never pooled; None for `report`, or where all lines are of another, that one.
    zoos: their names, none for all. by: the breakdowns, none for those
    that tell something, see `telling`. ledgers: a folder whose ledgers count among what was tried.
    """

    split: ZooSplit | None = None
    zoos: tuple[str, ...] = ()
    by: tuple[By, ...] = ()
    ledgers: Path | None = None


def gather(files: Sequence[Path], wanted: Wanted | None = None) -> Table:
    """What the lines of these files say.

    Raises DataError on a line that cannot be used, see `checked_lines`; ConfigError where none is of the split or zoo;
    NotALedger, StorageError on the ledgers.
    """
    return tabulated(checked_lines(files), wanted or Wanted())


def tabulated(lines: Sequence[ResultLine], wanted: Wanted) -> Table:
    """What these lines say, each scan once. Raises as `gather`, but for the lines."""
    shown = chosen(lines, wanted)
    split = shown[0].split
    left_out = Counter(line.split for line in lines if line.split != split)
    ledgers = [] if wanted.ledgers is None else scans_in(wanted.ledgers)
    seen = _Seen(methods(shown, TITLES), tuple(runs_of(ledgers)), len(ledgers), wanted.by)
    return Table(split, tuple(seen.zoo(own) for own in _grouped(shown).values()), tuple(left_out.items()))


def chosen(lines: Sequence[ResultLine], wanted: Wanted) -> list[ResultLine]:
    """The lines of that split and of those zoos, at least one. Raises ConfigError where there are none."""
    split = wanted.split or _only_split(lines)
    there = [line for line in lines if line.split == split]
    if not there:
        others = ", ".join(f"--split {other}" for other in {line.split: 0 for line in lines})
        raise ConfigError(f"no line of the split {split}" + (f"; try {others}" if others else ""))
    names = list(dict.fromkeys(line.zoo for line in there))
    for zoo in wanted.zoos:
        if zoo not in names:
            raise ConfigError(f"--zoo {zoo}: no line of the split {split}; there are {', '.join(names)}")
    return [line for line in there if not wanted.zoos or line.zoo in wanted.zoos]


def _only_split(lines: Sequence[ResultLine]) -> ZooSplit:
    splits = {line.split for line in lines}
    return splits.pop() if len(splits) == 1 else "report"


def _grouped(lines: Sequence[ResultLine]) -> dict[str, list[ResultLine]]:
    zoos: dict[str, list[ResultLine]] = defaultdict(list)
    for line in lines:
        zoos[line.zoo].append(line)
    return zoos


@dataclass(frozen=True)
class _Seen:
    """What all zoos of a table have in common. runs: of the ledgers, (model_hash, config)."""

    methods: dict[Key, Method]
    runs: tuple[tuple[str, Config], ...]
    ledgers: int
    by: tuple[By, ...]

    def zoo(self, lines: Sequence[ResultLine]) -> ZooTable:
        """The figures of the lines of one zoo."""
        by_method: dict[Key, list[ResultLine]] = {key: [] for key in self.methods}
        for line in lines:
            by_method[key_of(line)].append(line)
        shown = [method for key, method in self.methods.items() if by_method[key]]
        pairs = (pair(first, second, by_method) for first, second in combinations(shown, 2))
        breakdowns = [breakdown(by, shown, by_method) for by in self.by or telling(lines)]
        return ZooTable(
            zoo=lines[0].zoo,
            victims=victims_of(lines),
            cells=tuple(cell(method, by_method[method.key]) for method in shown),
            pairs=tuple(found for found in pairs if found is not None),
            breakdowns=tuple(breakdowns),
            tries=configurations(lines, self.runs, self.ledgers),
        )


def telling(lines: Sequence[ResultLine]) -> list[By]:
    """The breakdowns with several groups of backdoored victims; not by size where strata and attacks are the same."""
    backdoored = [line for line in lines if line.truth == "backdoored"]
    groups = {by: {group(line) for line in backdoored} for by, group in GROUPS.items()}
    both = {(line.stratum, line.attack) for line in backdoored}
    same = len(both) == len(groups["size"]) == len(groups["attack"])
    return [by for by in GROUPS if len(groups[by]) > 1 and not (by == "size" and same)]


def victims_of(lines: Sequence[ResultLine]) -> Victims:
    """The victims that these lines of one zoo are about, each once."""
    victims = list({line.model_hash: line for line in lines}.values())
    backdoored = [line for line in victims if line.truth == "backdoored"]
    implants = [line.implant_success for line in backdoored if line.implant_success is not None]
    accuracies = [line.clean_accuracy for line in victims]
    return Victims(
        count=len(victims),
        clean=len(victims) - len(backdoored),
        strata=_counts(backdoored, GROUPS["size"]),
        attacks=_counts(backdoored, GROUPS["attack"]),
        architectures=_counts(victims, GROUPS["architecture"]),
        clean_accuracy=(min(accuracies), max(accuracies)),
        implant_success=(min(implants), max(implants)) if implants else None,
    )


def _counts(lines: Sequence[ResultLine], group: Callable[[ResultLine], str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(map(group, lines)).items()))
