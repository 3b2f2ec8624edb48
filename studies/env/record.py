"""Runs the arms of a zoo's victims to their ends through a meter, and keeps them in one small file per victim."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from filelock import FileLock, Timeout

from oracles.budget import Budget
from oracles.spec import build
from simkit.env.arms import Bench
from simkit.env.config import ArmsConfig
from simkit.env.recording import SUFFIX, Header, Recording, record
from simkit.errors import ConfigError, DataError
from simkit.search.evaluator import Evaluator
from simkit.zoo.manifest import Victim, checked_weights
from simkit.zoo.spec import ZooSplit
from studies.scan.config import ScanConfig
from studies.scan.fields import with_fields
from studies.scan.images import choose_images
from studies.scan.models import open_model
from studies.scan.run_key import environment
from studies.study.executors import Workers, error_in_one_line, worker_pool

State: TypeAlias = Literal["recorded", "there", "busy", "failed"]


@dataclass(frozen=True)
class Zoo:
    """A zoo, the folder of its recordings, and the settings that they share.

    settings: fields of `ScanConfig`, except those of a search. arms: settings that replace those of `ArmsConfig`.
    """

    folder: Path
    name: str
    split: ZooSplit
    out: Path
    settings: Mapping[str, Any]
    arms: Mapping[str, Any]

    def scan_config(self) -> ScanConfig:
        """The settings of images, service and seed. Raises ConfigError, InvalidSpec."""
        if unused := {"preset", "search", "driver", "rule", "synthesis", "budget"} & self.settings.keys():
            raise ConfigError(f"{min(unused)} cannot be set here; set the arms by arms.classes, arms.shared ...")
        return ScanConfig.of({**self.settings, "preset": "b3d"})

    def arms_config(self) -> ArmsConfig:
        """The settings of the arms. Raises ConfigError."""
        if not isinstance(self.arms, Mapping):
            raise ConfigError(f"arms = {self.arms!r}: name a setting of the arms, as in arms.classes.grid=8")
        return with_fields(ArmsConfig(), self.arms, "arms")

    def check(self) -> None:
        """Raise ConfigError for settings with which no victim could be recorded, before any query."""
        config = self.scan_config()
        self.arms_config()
        if config.oracle.rate_limit is not None or config.oracle.near_duplicate is not None:
            raise ConfigError("arms are recorded separately, but guards depend on all queries; leave rate limits out")


@dataclass(frozen=True)
class Recorded:
    """The outcome of a victim. state: `busy` if another process records it. message: error or warnings, in one line."""

    victim: Victim
    state: State
    queries: int = 0
    message: str = ""


def path_of(zoo: Zoo, victim: Victim, seed: int) -> Path:
    """The file of a victim's recording."""
    return zoo.out / f"{zoo.name}-{victim.index:04d}-{seed}{SUFFIX}"


def record_victim(zoo: Zoo, victim: Victim) -> Recorded:
    """Record a victim unless that is done already; an error becomes the message, since it concerns only this victim."""
    with warnings.catch_warnings(record=True) as warned:
        try:
            state, queries = _recorded(zoo, victim)
        except Exception as error:
            return Recorded(victim, "failed", message=error_in_one_line(error))
    return Recorded(victim, state, queries, "; ".join(dict.fromkeys(str(w.message) for w in warned)))


def _recorded(zoo: Zoo, victim: Victim) -> tuple[State, int]:
    path, opened = path_of(zoo, victim, zoo.scan_config().seed), OpenedVictim.of(zoo, victim)
    if path.exists():
        return "there", _kept(path, opened)
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=0):
            if path.exists():  # recorded by another process meanwhile
                return "there", _kept(path, opened)
            return "recorded", _record(path, opened)
    except Timeout:
        return "busy", 0


def _kept(path: Path, opened: OpenedVictim) -> int:
    """The queries of an existing recording, which must have been made with the same settings."""
    kept = Recording.load(path)
    if kept.header.identity != opened.header(0, 0.0).identity:
        raise ConfigError(f"{path}: recorded with other weights, images or settings; give another --out")
    return kept.queries


def _record(path: Path, opened: OpenedVictim) -> int:
    queries, accuracy = opened.bench.check()
    arms, gains = record(opened.bench)
    recording = Recording(opened.header(queries, accuracy), arms, gains)
    if recording.queries != opened.budget.spent:
        raise DataError(
            f"{path}: {recording.queries:,} queries recorded, {opened.budget.spent:,} charged; please report this bug"
        )
    recording.save(path)
    return recording.queries


@dataclass(frozen=True, eq=False)
class OpenedVictim:
    """A victim that can be queried. budget: charged once for each query of all its arms."""

    zoo: Zoo
    victim: Victim
    bench: Bench
    data_hash: str
    budget: Budget

    @classmethod
    def of(cls, zoo: Zoo, victim: Victim, budget: int | None = None) -> OpenedVictim:
        """Open a victim without a query. budget: maximum for all arms. Raises DataError, ModelError, ConfigError."""
        config = zoo.scan_config()
        images = choose_images(config, None)
        model = open_model(checked_weights(zoo.folder, victim), images.search, config)
        charged = Budget(budget)

        def ask() -> Evaluator:
            """A fresh evaluator; noise depends on the query's ordinal in the arm, so that arms are independent."""
            return Evaluator(build(config.oracle, config.restricted(model.oracle, 0), Budget(None, charged)), None)

        bench = Bench(ask, model.oracle.n_classes, images, zoo.arms_config(), config.seed)
        return cls(zoo, victim, bench, images.sha256, charged)

    def header(self, check_queries: int, clean_accuracy: float) -> Header:
        """The header of the victim's recording."""
        zoo, victim, config = self.zoo, self.victim, self.zoo.scan_config()
        return Header(
            zoo=zoo.name,
            split=zoo.split,
            index=victim.index,
            model_hash=str(victim.sha256),
            data_hash=self.data_hash,
            truth=victim.truth,
            stratum=victim.stratum,
            target_classes=victim.target_classes,
            settings=config.service() | {"arms": asdict(self.bench.config)},
            environment=environment(),
            seed=config.seed,
            n_classes=self.bench.n_classes,
            check_queries=check_queries,
            clean_accuracy=clean_accuracy,
            largest_chunks=self.bench.config.largest_chunks(len(self.bench.images.verify)),
        )


def recorded_by(zoo: Zoo, victims: Sequence[Victim], workers: Workers) -> Generator[Recorded, None, None]:
    """The outcome of every victim, in the order in which they finish.

    An interrupt, or closing the generator early, ends the processes at once; a file is either complete or missing.
    Raises ConfigError as `worker_pool` does.
    """
    if workers.here:
        torch.set_num_threads(workers.threads)
        yield from (record_victim(zoo, victim) for victim in victims)
        return
    with worker_pool(workers, __name__) as at_work:
        futures = {at_work.executor.submit(record_victim, zoo, victim): victim for victim in victims}
        for future in as_completed(futures):
            yield _outcome(future, futures[future])


def _outcome(future: Future[Recorded], victim: Victim) -> Recorded:
    try:
        return future.result()
    except BrokenProcessPool:
        died = "its process died, perhaps out of memory; run the same command again with fewer --workers"
        return Recorded(victim, "failed", message=died)
