"""One prober or honest client on one victim, under one detector and action, to one line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oracles.answers import FloatArray, top_label
from oracles.budget import Budget
from oracles.dodge import Dodge, Dodged
from oracles.errors import BudgetExhausted, Refused
from oracles.guard import WallClock
from oracles.meter import MemoryRecorder
from oracles.oracle import Oracle, Tag
from oracles.spec import OracleSpec, build
from oracles.watch.settings import THRESHOLDS, WatchSpec
from oracles.watch.watched import Suspicion, Watched
from simkit.data import ImageSet
from simkit.search.evaluator import Evaluator
from simkit.search.relay import Relay
from simkit.verdict import Verdict
from simkit.zoo.manifest import Victim, checked_weights
from simkit.zoo.spec import ZooSpec
from studies.scan.config import ScanConfig
from studies.scan.models import open_model
from studies.scan.prepare import prepare
from studies.watch.clients import CLIENTS
from studies.watch.config import DODGES, Thresholds, WatchLine, WatchStudy, watch_spec


@dataclass(frozen=True, eq=False)
class Target:
    """A victim of a zoo, the settings of its scans, and natural images, drawn with a seed that no scan uses."""

    zoo: Path
    spec: ZooSpec
    victim: Victim
    settings: dict[str, Any]
    natural: ImageSet

    def scan_config(self, preset: str, study: WatchStudy) -> ScanConfig:
        """The settings of a prober."""
        return ScanConfig.of(self.settings | {"preset": preset, "budget": study.budget, "seed": study.seed})


@dataclass(frozen=True)
class Cell:
    """What a target is tried with. dodge: `plain` for a client."""

    traffic: str
    dodge: str
    detector: str
    action: str
    threshold_from: Thresholds
    threshold: float

    @property
    def watch(self) -> WatchSpec:
        return watch_spec(self.detector, self.action, self.threshold)


class _Key:
    """One API key: its stack, and for each detector its alarms and the first among all queries of the traffic.

    watches: one of any action, or several that log, which see the same answers.
    """

    def __init__(self, model: Oracle, watches: Sequence[WatchSpec], budget: Budget) -> None:
        acting = watches[0] if watches[0].action != "log" else None
        recorder = MemoryRecorder()
        self._stack: Oracle = build(OracleSpec(watch=acting), model, budget, recorder)
        suspicions = [Suspicion() for _ in watches]
        for watch, suspicion in zip(watches, suspicions, strict=True):
            if acting is None:
                self._stack = Watched(self._stack, watch, suspicion, WallClock())
        self.alarms = [recorder.alarms] if acting else [suspicion.waiting for suspicion in suspicions]
        self.first_alarms: list[int | None] = [None for _ in watches]
        self._recorder, self._budget = recorder, budget

    @property
    def n_classes(self) -> int:
        return self._stack.n_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._stack.image_shape

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Any:
        """See `Oracle.query`."""
        before, own = self._budget.spent, self.answered
        answer = self._stack.query(images, tag)
        for place, alarms in enumerate(self.alarms):
            if self.first_alarms[place] is None and alarms:
                self.first_alarms[place] = before + alarms[0].first - own + 1
        return answer

    @property
    def answered(self) -> int:
        return sum(len(call.rows) for call in self._recorder.calls)


def traffic(target: Target, cells: Sequence[Cell], study: WatchStudy) -> list[WatchLine]:
    """Send the traffic of cells once and tell for each what its detector saw, and what the prober found.

    cells: one, or several with the same traffic and dodge that only log.
    """
    first, watches = cells[0], [cell.watch for cell in cells]
    honest = first.traffic in CLIENTS
    budget = Budget(study.honest_queries if honest else study.budget)
    dodge = DODGES[first.dodge]
    if honest:
        model = open_victim(target)
        keys = [_Key(model, watches, budget)]
        verdict, mixed = None, 0
        _send(keys[0], first.traffic, target.natural, study)
    else:
        config = target.scan_config(first.traffic, study)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = prepare(checked_weights(target.zoo, target.victim), config)
        keys = [_Key(prepared.model.oracle, watches, budget) for _ in range(dodge.keys)]
        dodged = Dodged(keys, dodge, target.natural.pixels.numpy())
        relay = Relay(prepared.course, prepared.images, lambda: dodged.n_classes)
        verdict = _verdict(relay, dodged if dodge != Dodge() else keys[0])
        mixed = dodged.mixed
    return [_line(target, cell, study, (keys, place, verdict, mixed)) for place, cell in enumerate(cells)]


def open_victim(target: Target) -> Oracle:
    """The victim as an oracle."""
    config = ScanConfig.of(target.settings)
    return open_model(checked_weights(target.zoo, target.victim), target.natural, config).oracle


def _verdict(relay: Relay, oracle: Oracle) -> Verdict:
    for checkpoint in relay.run(Evaluator(oracle, None)):
        if checkpoint.verdict is not None:
            verdict = checkpoint.verdict
    return verdict


def calls_of(client: str, natural: ImageSet, queries: int, seed: int) -> Sequence[FloatArray]:
    """The calls of a client with this many images in all, on images in an order drawn from the seed."""
    order = np.random.default_rng(seed).permutation(len(natural))
    calls: list[FloatArray] = []
    left = queries
    for call in CLIENTS[client](natural.pixels.numpy()[order], seed):
        calls.append(call[:left])
        left -= len(calls[-1])
        if left == 0:
            break
    return calls


def _send(oracle: Oracle, client: str, natural: ImageSet, study: WatchStudy) -> None:
    try:
        for call in calls_of(client, natural, study.honest_queries, study.seed):
            oracle.query(torch.from_numpy(call))
    except (BudgetExhausted, Refused):
        return


def top_score(target: Target, client: str, detector: str, study: WatchStudy) -> float:
    """The highest score that a detector gives a query of an honest client."""
    model, seen = open_victim(target), watch_spec(detector, "log", None).made()
    scores = [0.0]
    for call in calls_of(client, target.natural, study.honest_queries, study.seed):
        found = seen.observe(call, top_label(model.query(torch.from_numpy(call))))
        scores.append(float(found.scores.max()))
    return max(scores)


def default_threshold(detector: str) -> float:
    """That of the detector."""
    return THRESHOLDS[detector]


def _line(
    target: Target, cell: Cell, study: WatchStudy, ended: tuple[Sequence[_Key], int, Verdict | None, int]
) -> WatchLine:
    keys, place, verdict, mixed = ended
    victim, firsts = target.victim, [first for key in keys if (first := key.first_alarms[place]) is not None]
    targets = set(victim.target_classes)
    return WatchLine(
        zoo=target.spec.name,
        split=target.spec.split,
        index=victim.index,
        model_hash=victim.sha256 or "",
        truth=victim.truth,
        traffic=cell.traffic,
        honest=verdict is None,
        dodge=cell.dodge,
        detector=cell.detector,
        action=cell.action,
        threshold=cell.threshold,
        threshold_from=cell.threshold_from,
        budget=study.honest_queries if verdict is None else study.budget,
        seed=study.seed,
        queries=sum(key.answered for key in keys),
        honest_queries=mixed,
        alarms=sum(len(key.alarms[place]) for key in keys),
        first_alarm=min(firsts, default=None),
        verdict=None if verdict is None else verdict.verdict,
        stopped=None if verdict is None else verdict.stopped,
        target_found=None if verdict is None or not targets else not targets.isdisjoint(verdict.flagged),
    )
