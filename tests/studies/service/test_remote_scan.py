"""Scans through simkit's own service and its own caller equal scans in process, at any number of calls in flight."""

from __future__ import annotations

import random
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from db import reads
from db.check import check
from db.ledger import Ledger
from oracles.errors import InvalidSpec, ServiceBudgetSpent
from oracles.remote import caller
from oracles.remote.exchange import Lost
from oracles.remote.transport import Connection
from oracles.spec import OracleSpec
from oracles.torch_model import TorchOracle
from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest, Interface
from studies.service.app import application
from studies.service.changes import top_up
from studies.service.exchange import Exchange
from studies.service.gate import Gate
from studies.service.keys import KeyFile, new_key
from studies.service.metrics import Metrics
from studies.service.session import ServedModel
from tests.studies.scan.test_remote_scan import stored
from tests.studies.scans import IMAGES, TemplateNet, arrays, scanned, told

pytestmark = pytest.mark.process

CLASSES = ("zero", "one", "two", "three")


@contextmanager
def service(folder: Path, spec: OracleSpec, **key: Any) -> Iterator[str]:
    """The address of a real server over the planted victim; the key is in `folder`/key."""
    made = new_key(folder / "keys.toml", {"name": "a lab", **key})
    (folder / "key").write_text(made.text)
    oracle = TorchOracle(TemplateNet(target=1), IMAGES.image_shape, n_classes=4)
    with Ledger.open(folder / "provider.db") as ledger, socket.socket() as bound:
        gate = Gate({"net": ServedModel("net", oracle, "a" * 64, spec)}, ledger)
        about = {"net": Interface("net", IMAGES.image_shape, CLASSES, max_batch=16)}
        app = application(Exchange(gate, KeyFile(folder / "keys.toml"), about, Metrics()))
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/v2/models/net"
        finally:
            server.should_exit = True
            thread.join(timeout=20.0)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of all calls fails on the way: before the service or after it, or by another machine's 500 or 503."""
    monkeypatch.setattr(caller, "FIRST_WAIT", 0.002)
    draw, real = random.Random(11), Connection.exchange

    def exchange(self: Connection, request: HttpRequest, most: int) -> HttpReply:
        kind = draw.choice(("before", "after", "500", "503", "slow")) if draw.random() < 0.3 else ""
        if request.method == "GET":
            return real(self, request, most)
        if kind == "before":
            raise Lost("before")
        if kind in ("500", "503"):
            return json_reply({"error": "a proxy"}, int(kind))
        reply = real(self, request, most)
        if kind == "after":
            raise Lost("after")
        time.sleep(0.02 if kind == "slow" else 0.0)
        return reply

    monkeypatch.setattr(Connection, "exchange", exchange)


SPECS: list[dict[str, Any]] = [{}, {"top_k": 2}, {"score_noise": 0.05, "decimals": 2}]


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_scan_through_the_service_is_that_in_process(spec: dict[str, Any], in_flight: int, tmp_path: Path) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    wanted = scanned(TemplateNet(target=1), budget=1500, db=here, oracle=spec)
    remote = {"in_flight": in_flight, "key_file": str(tmp_path / "key")}
    with service(tmp_path, OracleSpec(**spec), budget=1500) as url:
        got = scanned(url, budget=1500, db=there, remote=remote)
        assert (told(got), arrays(got)) == (told(wanted), arrays(wanted))
        assert np.array_equal(stored(here), stored(there), equal_nan=True)
        if not spec:  # the service has the budget of one scan; what is left of it ends a second one
            with pytest.raises(ServiceBudgetSpent):
                scanned(url, budget=1500, db=there, remote=remote, seed=1)
            assert sum(reads.spend(there)["queries"]) <= 1500
    assert check(there) == check(tmp_path / "provider.db") == []
    charged = sum(reads.spend(tmp_path / "provider.db")["queries"])
    assert charged == sum(reads.spend(there)["queries"])


def test_a_key_with_a_smaller_budget_stops_the_scan_which_goes_on_after_a_top_up(tmp_path: Path) -> None:
    wants: dict[str, Any] = {"budget": 4000, "remote": {"key_file": str(tmp_path / "key")}}
    db, provider = tmp_path / "scan.db", tmp_path / "provider.db"
    wanted = scanned(TemplateNet(target=1), budget=4000)
    with service(tmp_path, OracleSpec(), budget=200) as url:
        with pytest.raises(ServiceBudgetSpent, match="topped up") as raised:
            scanned(url, db=db, **wants)
        paid = sum(reads.spend(db)["queries"])
        assert 184 < paid == sum(reads.spend(provider)["queries"]) <= 200
        assert f"has {200 - paid} queries left" in str(raised.value)
        (key,) = KeyFile(tmp_path / "keys.toml").all()
        top_up(tmp_path / "keys.toml", key.id, 4000)
        result = scanned(url, db=db, **wants)
    assert (told(result), arrays(result)) == (told(wanted), arrays(wanted))
    assert result.spent == sum(reads.spend(provider)["queries"])
    assert check(db) == check(provider) == []


@pytest.mark.parametrize("in_flight", [1, 8])
def test_rates_that_the_service_states_are_kept_without_a_refusal(in_flight: int, tmp_path: Path) -> None:
    """That of the model, with a burst that fills up in less than a second, and that of the key."""
    db, remote = tmp_path / "scan.db", {"in_flight": in_flight, "key_file": str(tmp_path / "key")}
    spec = OracleSpec(rate_limit="200/second", rate_burst=64)
    with service(tmp_path, spec, rate="250/second") as url:
        began = time.monotonic()
        got = scanned(url, budget=500, db=db, remote=remote)
        seconds = time.monotonic() - began
    assert (got.spent - 64) / 200 < seconds < 20.0
    assert (
        reads.sql(db, "SELECT count(*) AS n FROM attempts WHERE outcome != 'answered' AND outcome != 'sent'")["n"][0]
        == 0
    )
    assert got.notes == "the next step needs 40 queries, and 6 are left"


LABELS, TOP2 = OracleSpec(label_only=True), OracleSpec(top_k=2)


@pytest.mark.parametrize(
    ("model", "key", "given", "said"),
    [
        (LABELS, OracleSpec(), "top3", "answers labels only, and top_k needs scores; give --oracle label"),
        (OracleSpec(), LABELS, {"decimals": 2}, "answers labels only, and decimals needs scores"),
        (TOP2, LABELS, {"score_noise": 0.1}, "answers labels only, and score_noise needs scores"),
        (TOP2, OracleSpec(), {"score_noise": 0.1}, "answers its top 2 only, and score_noise needs all scores"),
        (OracleSpec(top_k=3), TOP2, {"score_noise": 0.1}, "answers its top 2 only"),
    ],
)
def test_an_oracle_that_does_not_fit_the_answers_of_the_service_costs_no_query(
    model: OracleSpec, key: OracleSpec, given: Any, said: str, tmp_path: Path
) -> None:
    with service(tmp_path, model, oracle=key) as url:
        for name in (url, "hf:" + url.replace("/v2/models/", "/models/")):
            with pytest.raises(InvalidSpec, match=said):
                scanned(name, budget=100, oracle=given, remote={"key_file": str(tmp_path / "key")})
    assert len(reads.queries(tmp_path / "provider.db")) == 0


def test_labels_are_told_of_before_the_first_query_where_the_searches_would_not_know(tmp_path: Path) -> None:
    wants: dict[str, Any] = {"budget": 100, "remote": {"key_file": str(tmp_path / "key")}}
    with service(tmp_path, LABELS) as url:
        with pytest.warns(UserWarning, match="answers labels only; give --oracle label"):
            scanned(url, **wants)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            scanned(url, oracle="label", **wants)
    assert not [one for one in said if "answers labels only" in str(one.message)]
