"""Small ledgers with known numbers, and a zoo that knows the truth about their models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from db.ledger import Ledger
from db.records import RunInfo, TriggerRow, VerdictRow
from db.service_records import Alarm
from oracles.meter import CallRecord
from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.attacks.registry import attack_to_json
from simkit.transforms.contract import Transform
from simkit.transforms.warp import Warp
from simkit.transforms.wave import Wave, Waves
from simkit.verdict import ClassResult, Verdict
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.spec import ZooSpec
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.stored_triggers import trigger_rows

SHAPE = (3, 8, 8)
SIZES = (20.0, 24.0, 4.0, 28.0)
"""Mask sizes of the classes; the median is 22, and class 2 lies under a quarter of it."""

PLAIN: dict[str, Any] = {"data": "digits", "budget": 1000, "preset": "b3d"}


def config_json(**settings: Any) -> str:
    """The config of a run as a scan keeps it."""
    config = ScanConfig.of(PLAIN | settings)
    return canonical({"preset": config.preset_name} | config.identity())


@dataclass(frozen=True)
class Kept:
    """One run to put into a ledger. verdict: None leaves it open. stopped: None for what goes with the verdict."""

    model: str = "model.safetensors"
    model_hash: str = "m" * 64
    verdict: str | None = "backdoored"
    stopped: str | None = None
    flagged: tuple[int, ...] = (2,)
    censored: tuple[int, ...] = (3,)
    notes: str = ""
    steps: int = 6
    refused: int = 5
    reason: str = "budget"
    alarms: tuple[int, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    trigger: Transform | None = None
    """That of class 2, in place of the patch."""


def info_of(kept: Kept, number: int = 0) -> RunInfo:
    config = ScanConfig.of(PLAIN | kept.settings)
    return RunInfo(
        key=hashlib.sha256(f"{number}".encode()).hexdigest(),
        model=kept.model,
        model_hash=kept.model_hash,
        data="digits",
        data_hash="d" * 64,
        oracle=config.oracle.to_json(),
        config=config_json(**kept.settings),
        seed=config.seed,
        budget=config.budget,
        environment=json.dumps({"threads": 1, "torch": "2.13.0"}),
    )


def write(path: Path, *runs: Kept) -> Path:
    """A ledger with these runs, each of a check of 4 queries, steps of 10, and 8 to verify."""
    with Ledger.open(path) as ledger:
        for number, kept in enumerate(runs):
            _write(ledger, kept, number)
    return path


def _write(ledger: Ledger, kept: Kept, number: int) -> None:
    run = ledger.begin(info_of(kept, number))
    states = ["{}"] + [_state(turn) for turn in range(kept.steps)] + ["{}"]
    purposes = ["check", *["search"] * kept.steps, "verify"]
    sizes = [4, *[10] * kept.steps, 8]
    for step, (purpose, state, queries) in enumerate(zip(purposes, states, sizes, strict=True)):
        opened = run.open_step(step, purpose, state)
        rows = np.zeros((queries, 2), np.int32)
        run.record(CallRecord(opened, rows, np.zeros(queries, np.int32), None, "labels/4", bytes(2 * queries)))
    if kept.refused:
        run.refuse(None, kept.refused, kept.reason)
    run.alarm(*(Alarm("piha", 1.0, query, 1, "log") for query in kept.alarms))
    if kept.verdict is not None:
        run.finish(_verdict(kept, run.spent), [_trigger(c, kept) for c in range(len(SIZES))])


def _state(turn: int) -> str:
    """Of a search whose four classes take turns, and of which class 2 shrinks."""
    step, target = divmod(turn, 4)
    loss = None if step == 0 else 2.0 / step
    size = 30.0 - step if target != 2 else 30.0 / (step + 1)
    return json.dumps({"round": step, "class": target, "loss": loss, "expected_mask_size": size})


def _verdict(kept: Kept, spent: int) -> VerdictRow:
    flagged = kept.flagged if kept.verdict == "backdoored" else ()
    stopped = {"backdoored": "decided", "clean": "converged", "undecided": "budget", "invalid": "decided"}
    ended = kept.stopped or stopped[kept.verdict or "clean"]
    score, accuracy = (None, 0.1) if kept.verdict == "invalid" else (1.7, 0.75)
    rule = ("below_median", 0.25, "all four unofficial implementations of B3D")
    cost = (spent, kept.refused, 12.5)
    return VerdictRow(kept.verdict or "clean", ended, flagged, score, *rule, *cost, accuracy, kept.notes)


def _trigger(target: int, kept: Kept) -> TriggerRow:
    """Filled from the bottom row on, every second pixel; class 2's is a square of 2x2 top left."""
    if target == 2 and kept.trigger is not None:
        found = ClassResult(2, kept.trigger, kept.trigger.mask_size, 1.0, False, 8)
        return trigger_rows(Verdict("backdoored", "decided", (2,), 1.0, (found,), 1.0))[0]
    mask = np.zeros((1, 8, 8), np.float32)
    if target == 2:
        mask[:, :2, :2] = 1.0
    else:
        mask.reshape(-1)[: int(SIZES[target]) * 2 : 2] = 1.0
    pattern = np.full(SHAPE, 0.25, np.float32)
    hits = 8 if target == 2 else 6
    return TriggerRow(target, mask, pattern, SIZES[target], hits / 8, hits, 8, target in kept.censored)


def zoo(folder: Path, model_hash: str = "m" * 64, target: int | None = 2, attack: Attack | None = None) -> Path:
    """A zoo with one victim; backdoored by `attack`, else a patch of 2x2 that shares two pixels with what is found for
    class 2."""
    patch = patch_trigger(SHAPE, 0, 1, np.ones((3, 2, 2), np.float32))
    clean: dict[str, Any] = {
        **{"index": 0, "seed": 0, "stratum": "clean", "truth": "clean", "architecture": "conv4"},
        **{"target_classes": (), "attack": None, "clean_accuracy": 0.9, "success_rate": None, "implanted": False},
        **{"file": "model.safetensors", "sha256": model_hash, "seconds": 1.0, "threads": 1},
    }
    implant = {"truth": "backdoored", "stratum": "2x2", "target_classes": (target,), "success_rate": 0.97}
    changed = implant | {"implanted": True, "attack": attack_to_json(attack or BadNets(patch, target or 0))}
    victim = Victim(**(clean if target is None else clean | changed))
    spec = ZooSpec.of({"name": "known", "data": "digits", "split": "report", "models": 1})
    names = ("airplane", "car", "<bird>", "cat")
    folder.mkdir(parents=True, exist_ok=True)
    Manifest(spec=spec, classes=names, image_shape=SHAPE, data_sha256="0" * 64, victims=(victim,)).save(folder)
    return folder


def bent(seed: int = 1) -> Warp:
    """A warp of about a pixel."""
    return Warp(SHAPE, np.random.default_rng(seed).normal(0.0, 1.0, (4, 4, 2)))


def wavy(cycles: float = 2.0) -> Waves:
    """A wave of 24 of 255 that runs to the right."""
    return Waves(SHAPE, (Wave((cycles, 0.0), 0.0, (24 / 255,) * 3),))
