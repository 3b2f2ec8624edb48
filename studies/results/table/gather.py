"""Gathers the records of a table from result lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simkit.detectors.registry import TITLES
from simkit.errors import ConfigError
from simkit.zoo.spec import ZooSplit
from studies.ledgers.folders import scans_in
from studies.results.table.cells import GROUPS, breakdown, cell, pairs
from studies.results.table.configurations import Config, configurations, runs_of
from studies.results.table.methods import key_of, methods
from studies.results.table.records import By, Key, Method, Table, Victims, ZooTable
from studies.scan.probability import PRIOR, checked_prior
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class Wanted:
    """Which part of the lines a table shows.

    split: the split to show, since splits are never pooled; None means `report`, or the only split that the lines have.
    zoos: names of the zoos to show; empty means all. by: the breakdowns to show; empty means those of `telling`.
    ledgers: folder whose ledgers count towards the configurations tried. prior: the share of backdoored models that
    probabilities of a backdoor assume; it is a setting and not the zoo's own share, which a prober does not know. pool:
    whether to treat the zoos as one.
    """

    split: ZooSplit | None = None
    zoos: tuple[str, ...] = ()
    by: tuple[By, ...] = ()
    ledgers: Path | None = None
    prior: float = PRIOR
    pool: bool = False


def gather(files: Sequence[Path], wanted: Wanted | None = None) -> Table:
    """The table of the lines in these files.

    Raises DataError for an unusable line (see `checked_lines`), ConfigError where no line is of the split or zoo, or
    the prior is none, and NotALedger or StorageError for the ledgers.
    """
    return tabulated(checked_lines(files), wanted or Wanted())


def tabulated(lines: Sequence[ResultLine], wanted: Wanted) -> Table:
    """The table of these lines, each of another scan. Raises as `gather`, except for unusable lines."""
    shown = _pooled(chosen(lines, wanted)) if wanted.pool else chosen(lines, wanted)
    split = shown[0].split
    left_out = Counter(line.split for line in lines if line.split != split)
    ledgers = [] if wanted.ledgers is None else scans_in(wanted.ledgers)
    prior = checked_prior(wanted.prior)
    seen = _Seen(methods(shown, TITLES), tuple(runs_of(ledgers)), len(ledgers), wanted.by, prior)
    return Table(split, tuple(seen.zoo(own) for own in _grouped(shown).values()), tuple(left_out.items()), prior)


def chosen(lines: Sequence[ResultLine], wanted: Wanted) -> list[ResultLine]:
    """The lines of that split and of those zoos, at least one. Raises ConfigError where there are none."""
    split = wanted.split or _only_split(lines)
    of_split = [line for line in lines if line.split == split]
    if not of_split:
        others = ", ".join(f"--split {other}" for other in {line.split: 0 for line in lines})
        raise ConfigError(f"no result line is of split {split}" + (f"; try {others}" if others else ""))
    names = list(dict.fromkeys(line.zoo for line in of_split))
    for zoo in wanted.zoos:
        if zoo not in names:
            raise ConfigError(f"--zoo {zoo}: no result line of split {split} is of it; choose from {', '.join(names)}")
    return [line for line in of_split if not wanted.zoos or line.zoo in wanted.zoos]


def _only_split(lines: Sequence[ResultLine]) -> ZooSplit:
    splits = {line.split for line in lines}
    return splits.pop() if len(splits) == 1 else "report"


def _pooled(lines: Sequence[ResultLine]) -> list[ResultLine]:
    """The lines as if of one zoo, which has the names of all."""
    name = " + ".join(dict.fromkeys(line.zoo for line in lines))
    return [line.model_copy(update={"zoo": name}) for line in lines]


def _grouped(lines: Sequence[ResultLine]) -> dict[str, list[ResultLine]]:
    zoos: dict[str, list[ResultLine]] = defaultdict(list)
    for line in lines:
        zoos[line.zoo].append(line)
    return zoos


@dataclass(frozen=True)
class _Seen:
    """What all zoos of a table share. runs: (model_hash, config) of each run in the ledgers."""

    methods: dict[Key, Method]
    runs: tuple[tuple[str, Config], ...]
    ledgers: int
    by: tuple[By, ...]
    prior: float

    def zoo(self, lines: Sequence[ResultLine]) -> ZooTable:
        """The figures of the lines of one zoo."""
        by_method: dict[Key, list[ResultLine]] = {key: [] for key in self.methods}
        for line in lines:
            by_method[key_of(line)].append(line)
        shown = [method for key, method in self.methods.items() if by_method[key]]
        breakdowns = [breakdown(by, shown, by_method) for by in self.by or telling(lines)]
        return ZooTable(
            zoo=lines[0].zoo,
            victims=victims_of(lines),
            cells=tuple(cell(method, by_method[method.key], self.prior) for method in shown),
            pairs=pairs(shown, by_method),
            breakdowns=tuple(breakdowns),
            tries=configurations(lines, self.runs, self.ledgers),
        )


def telling(lines: Sequence[ResultLine]) -> list[By]:
    """The breakdowns with several groups of backdoored victims, except by size where strata and attacks coincide."""
    backdoored = [line for line in lines if line.truth == "backdoored"]
    groups = {by: {group(line) for line in backdoored} for by, group in GROUPS.items()}
    both = {(line.stratum, line.attack) for line in backdoored}
    same = len(both) == len(groups["size"]) == len(groups["attack"])
    return [by for by in GROUPS if len(groups[by]) > 1 and not (by == "size" and same)]


def victims_of(lines: Sequence[ResultLine]) -> Victims:
    """A summary of the victims in these lines, which are of one zoo; each victim counts once."""
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
