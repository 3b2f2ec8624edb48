"""What the tests of the ledger share: a run, and calls of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from db.records import FloatArray, IntArray, RunInfo, VerdictRow


@dataclass(frozen=True, eq=False)
class Call:
    step: int | None
    rows: IntArray
    labels: IntArray
    scores: FloatArray | None
    codec: str
    answers: bytes


MakeCall = Callable[..., Call]
MakeRun = Callable[..., RunInfo]
MakeVerdict = Callable[..., VerdictRow]


def _call(step: int | None = None, queries: int = 3, seed: int = 0) -> Call:
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, 1000, (queries, 2)).astype(np.int32)
    values = draw.random((queries, 4)).astype(np.float32)
    labels = values.argmax(axis=1).astype(np.int32)
    return Call(step, rows, labels, values.max(axis=1), "scores/4/0.0", values.tobytes())


def _run(name: str = "run", budget: int | None = None, seed: int = 7) -> RunInfo:
    key = hashlib.sha256(name.encode()).hexdigest()
    return RunInfo(key, f"{name}.onnx", "m" * 64, "digits", "d" * 64, '{"k":1}', "{}", seed, budget, "{}")


def _verdict(spent: int = 0, refused: int = 0, verdict: str = "clean", stopped: str = "decided") -> VerdictRow:
    source = "calibrated on seeds 100-199"
    flagged = (2, 5) if verdict == "backdoored" else ()
    return VerdictRow(verdict, stopped, flagged, 1.25, "anomaly", 2.0, source, spent, refused, 0.5, 0.9, "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(scope="session")
def make_call() -> MakeCall:
    return _call


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    return _run


@pytest.fixture(scope="session")
def make_verdict() -> MakeVerdict:
    return _verdict
