"""Gathers a report's records from a study file, its result lines and its ledgers; loads and queries no model."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.errors import StorageError
from simkit.detectors.registry import TITLES
from simkit.errors import ConfigError, DataError
from simkit.progress import OnProgress, unheard
from studies.render.figures import Drawing
from studies.report.gallery.gather import GalleryConfig, ShownZoo, ZooSource, gather_gallery
from studies.report.study.records import Made, Origin, Source, Spend, StudyReport
from studies.results.budget.gather import BudgetConfig, curves_of
from studies.results.budget.matching_ledgers import Exact, Ledgers
from studies.results.budget.records import BudgetStudy
from studies.results.table.gather import Wanted, tabulated
from studies.results.table.methods import key_of, methods
from studies.results.table.records import Key, Method
from studies.scan.price import Price
from studies.statistics import spread
from studies.study.plan import config_hash
from studies.study.result_file import checked_lines
from studies.study.result_line import ResultLine
from studies.study.study_file import StudyFile
from studies.study.zoos import Zoo


@dataclass(frozen=True)
class ReportConfig:
    """What a report shows.

    exact, workers: see `studies.results.budget.matching_ledgers.Ledgers`. each: number of victims per stratum in the
    gallery. storage: URL of Optuna's tables; None means that of the study file.
    """

    exact: Exact = "none"
    workers: int = 1
    each: int = 2
    storage: str | None = None


def gather_report(file: StudyFile, config: ReportConfig, progress: OnProgress = unheard) -> StudyReport:
    """The report on the scans of the study that are finished so far.

    progress: told how many ledgers are read. Raises ConfigError where no scan is finished yet, DataError for unusable
    result lines, and StorageError for ledgers that curves are computed from.
    """
    lines, wanted = _lines(file)
    tuned, tunings = _tuned(file, config.storage)
    if not lines and not tunings:
        raise ConfigError(
            f"{file.path.name}: no scan of this study is finished; run `simkit study run {file.path.name}` first"
        )
    price = Price.stated(file.config.report.model_dump())
    gallery, why = _gallery(file, config.each)
    return StudyReport(
        origin=_origin(file, lines, wanted),
        curves=_curves(file, lines, config, progress),
        table=tabulated(lines, Wanted(file.config.split)) if lines else None,
        spend=_spend(lines, price),
        gallery=gallery,
        no_gallery=why,
        each=config.each,
        tuned=tuned,
        tunings=tunings,
    )


def _tuned(file: StudyFile, storage: str | None) -> tuple[tuple[Drawing, ...], tuple[str, ...]]:
    """The figures of the study's tuning, and the command-line options that made it. Raises StorageError."""
    if file.config.tune is None:
        return (), ()
    from studies.tune.history import tuned
    from studies.tune.plots import plots  # optuna is slow to import

    groups = tuned(file, storage)
    modes = [(f"--at {group.budget}" if group.mode == "at" else "--pareto", group.trials) for group in groups]
    options = tuple(f"{mode} --sampler-seed {seed}" for mode, trials in modes for seed in trials)
    return tuple(plot for group in groups for plot in plots(group)), options


def _lines(file: StudyFile) -> tuple[list[ResultLine], int]:
    """The result lines of this study, and how many there will be once it is finished."""
    wanted = {
        (cell.study.name, cell.study.split, victim.index, str(victim.sha256), cell.method.name, digest)
        for cell in file.cells()
        for digest in [config_hash(cell.study, cell.method)]
        for victim in cell.victims
    }
    lines = checked_lines([file.results]) if file.results.exists() else []
    return [line for line in lines if line.unit in wanted], len(wanted)


def _curves(
    file: StudyFile, lines: Sequence[ResultLine], config: ReportConfig, progress: OnProgress
) -> BudgetStudy | None:
    if not any(line.asks for line in lines):
        return None
    folders = (file.ledgers,) if config.exact != "none" or file.ledgers.is_dir() else ()
    ledgers = Ledgers(folders, config.exact, None, config.workers)
    price = Price.stated(file.config.report.model_dump())
    budget = BudgetConfig(budgets=file.config.budgets, pool=True, by_service=True, price=price, ledgers=ledgers)
    return curves_of(lines, budget, progress)


def _spend(lines: Sequence[ResultLine], price: Price | None) -> tuple[Spend, ...]:
    by_key: dict[Key, list[ResultLine]] = defaultdict(list)
    for line in lines:
        by_key[key_of(line)].append(line)
    return tuple(_spent(method, by_key[key], price) for key, method in methods(lines, TITLES).items())


def _spent(method: Method, lines: Sequence[ResultLine], price: Price | None) -> Spend:
    oracle: Mapping[str, Any] = lines[0].config.get("oracle") or {}
    backdoored, clean = ([line.queries for line in lines if line.truth == truth] for truth in ("backdoored", "clean"))
    return Spend(
        label=method.label,
        scans=len(lines),
        queries=spread([line.queries for line in lines]),
        backdoored=spread(backdoored),
        clean=spread(clean),
        seconds=spread([line.seconds for line in lines]),
        price=(Price.stated(oracle) if price is None else price) if method.service else None,
    )


def _gallery(file: StudyFile, each: int) -> tuple[tuple[ShownZoo, ...], str]:
    """The triggers, or the reason why there are none to show; a missing gallery is no reason to fail the report."""
    if not file.ledgers.is_dir():
        return (), f"No triggers are shown: the folder of ledgers {file.config.ledgers} does not exist."
    names = dict.fromkeys(cell.method.name for cell in file.cells())
    detectors = () if any(":" in name for name in names) else tuple(names)  # a ledger names a user's detector otherwise
    sources = [ZooSource(zoo.folder, zoo.data) for zoo in file.zoos]
    try:
        zoos = gather_gallery(sources, [file.ledgers], GalleryConfig(each, detectors))
    except (DataError, StorageError) as error:
        return (), f"No triggers are shown: {error}."
    shown = tuple(zoo for zoo in zoos if zoo.strata)
    if any(b.found for zoo in shown for s in zoo.strata for victim in s.shown for b in victim.backdoors):
        return shown, ""
    return (), f"No triggers are shown: {file.config.ledgers} holds no finished scan of these victims."


def _origin(file: StudyFile, lines: Sequence[ResultLine], wanted: int) -> Origin:
    environments = Counter(json.dumps({name: str(value) for name, value in line.environment.items()}) for line in lines)
    results = "".join(f"{line.model_dump_json()}\n" for line in lines)
    return Origin(
        name=file.config.name,
        file=file.path.name,
        text=file.source.text,
        sha256=file.source.sha256,
        hash=file.hash,
        results=hashlib.sha256(results.encode()).hexdigest(),
        done=len(lines),
        wanted=wanted,
        zoos=tuple(map(_source, file.zoos)),
        made=tuple(Made(scans, tuple(json.loads(text).items())) for text, scans in environments.most_common()),
    )


def _source(zoo: Zoo) -> Source:
    spec, victims = zoo.manifest.spec, zoo.manifest.victims
    data = spec.data.rstrip("/").rpartition("/")[2]
    return Source(
        spec.name, spec.split, len(zoo.victims), len(victims), data, zoo.manifest_sha256, zoo.manifest.data_sha256
    )
