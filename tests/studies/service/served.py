"""A service in this process: an application around a gate on a known model, and the keys of its callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from db.ledger import Ledger
from oracles.answers import FloatArray
from oracles.spec import OracleSpec
from oracles.wire.contract import HttpReply, HttpRequest, Interface, Wire
from oracles.wire.rekognition import Rekognition
from studies.service.app import Limits, application
from studies.service.exchange import Exchange
from studies.service.gate import Gate
from studies.service.keys import KeyFile, NewKey, new_key
from studies.service.metrics import Metrics
from studies.service.session import ServedModel
from tests.oracles.fakes import LinearOracle

SHAPE = (3, 4, 4)
CLASSES = ("zero", "one", "two", "three", "four")
ABOUT = Interface("m", SHAPE, CLASSES, max_batch=16)
LOCAL = Limits(hosts=("testserver", "127.0.0.1", "localhost"))
PLAIN = OracleSpec()

ORACLE = LinearOracle()
"""For `python:tests.studies.service.served:ORACLE`."""

IMAGE: FloatArray = (np.arange(48).reshape(1, *SHAPE) / np.float32(255.0)).astype(np.float32)
"""One image of 8-bit pixels, which every format carries unchanged."""


def images(count: int, seed: int = 0) -> FloatArray:
    """Images of 8-bit pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE))
    return (pixels / np.float32(255.0)).astype(np.float32)


def question(
    wire: Wire, key: NewKey | None, about: Interface = ABOUT, body: dict[str, Any] | None = None
) -> HttpRequest:
    """A question about IMAGE, signed where the format wants it; without a key for None. body: takes its place."""
    request = wire.ask(IMAGE, about, None if key is None else key.text)
    request = request if body is None else replace(request, body=json.dumps(body).encode())
    if key is None or not isinstance(wire, Rekognition):
        return request
    return wire.sign(request, "testserver", f"{key.key.id}:{key.aws_secret}", datetime.now(UTC))


@dataclass(frozen=True)
class Provider:
    """What a test needs of a service. db: its ledger."""

    client: TestClient
    keys: Path
    db: Path
    oracle: LinearOracle
    gate: Gate

    def key(self, **fields: Any) -> NewKey:
        """A new key."""
        return new_key(self.keys, {"name": "a lab"} | fields)

    def send(self, request: HttpRequest, **headers: str) -> HttpReply:
        """The reply to a request."""
        given = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        raw = {name.encode(): value.encode("latin-1") for name, value in given.items()}
        reply = self.client.request(request.method, request.target, content=request.body, headers=raw)
        lower = {name.lower(): value for name, value in reply.headers.items()}
        return HttpReply(reply.status_code, lower, reply.content)


@contextmanager
def provider(
    folder: Path, spec: OracleSpec = PLAIN, oracle: LinearOracle | None = None, limits: Limits = LOCAL
) -> Iterator[Provider]:
    """A service of two models, `m` and `other`, in this process."""
    keys, db, oracle = folder / "keys.toml", folder / "provider.db", oracle or LinearOracle()
    new_key(keys, {"name": "nobody", "budget": 0})
    with Ledger.open(db) as ledger:
        models = {name: ServedModel(name, oracle, "a" * 64, spec) for name in ("m", "other")}
        gate = Gate(models, ledger)
        interfaces = {name: Interface(name, SHAPE, CLASSES, max_batch=16) for name in models}
        app = application(Exchange(gate, KeyFile(keys), interfaces, Metrics()), limits)
        yield Provider(TestClient(app), keys, db, oracle, gate)
