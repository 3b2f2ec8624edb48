"""A gate on known models, and keys."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import reads
from db.ledger import Ledger
from db.service_records import Alarm
from db.stored import StoredRun
from oracles.answers import FloatArray
from oracles.spec import OracleSpec
from oracles.wire.contract import Question
from studies.service.gate import Delivery, Gate
from studies.service.keys import Key
from studies.service.session import ServedModel
from tests.oracles.fakes import LinearOracle
from tests.studies.service.served import Provider, provider

SCORES = OracleSpec()
OpenGate = Callable[..., Gate]


def key_of(name: str = "lab00000", **fields: Any) -> Key:
    return Key(id=name, name="a lab", sha256="0" * 64, created=datetime(2026, 11, 29, tzinfo=UTC), **fields)


def images_of(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).random((count, 3, 4, 4)).astype(np.float32)


def asked(count: int = 2, seed: int = 0) -> Question:
    return Question(images_of(count, seed))


def sent(question: Question, idempotency: str | None = None, first: int | None = None) -> Delivery:
    return Delivery(hashlib.sha256(question.images.tobytes()).digest(), idempotency, first)


def open_gate(
    path: Path, spec: OracleSpec = SCORES, oracle: LinearOracle | None = None, **options: Any
) -> tuple[Gate, Ledger]:
    ledger = Ledger.open(path)
    models = {name: ServedModel(name, oracle or LinearOracle(), "a" * 64, spec) for name in ("m", "other")}
    return Gate(models, ledger, **options), ledger


def alarmed(ledger: Ledger, key: Key, alarm: Alarm) -> None:
    """Store an alarm of the first run of a key; a gate that is open hears of it at its next start."""
    statement = "SELECT id FROM runs WHERE json_extract(config, '$.service.key') = :key ORDER BY id"
    run = int(reads.sql(ledger.path, statement, {"key": key.id})["id"].iloc[0])
    ledger.begin(StoredRun.read(ledger.path, run).info).alarm(alarm)


class Blocking(LinearOracle):
    """Answers only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def query(self, images: Any, tag: Any = None) -> Any:
        self.entered.set()
        assert self.go.wait(20)
        return super().query(images, tag)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenGate]:
    """Opens a gate on `provider.db`; opening it again is a restart."""
    ledgers: list[Ledger] = []

    def open_it(spec: OracleSpec = SCORES, oracle: LinearOracle | None = None, **options: Any) -> Gate:
        if ledgers:
            ledgers.pop().close()
        gate, ledger = open_gate(tmp_path / "provider.db", spec, oracle, **options)
        ledgers.append(ledger)
        return gate

    yield open_it
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Provider]:
    """A service over HTTP, in this process."""
    with provider(tmp_path) as made:
        yield made


__all__ = ["Blocking", "OpenGate", "alarmed", "asked", "images_of", "key_of", "open_gate", "opened", "sent", "service"]
