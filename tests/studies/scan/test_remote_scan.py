"""Scans over HTTP equal scans in process: answers, triggers, verdict and spend, with faults and after kills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import reads
from db.check import check
from db.ledger import Ledger
from db.stored import StoredRun
from db.survey import survey
from oracles.errors import InvalidSpec, ModelError, ServiceBudgetSpent
from oracles.oracle import Oracle
from oracles.remote import caller, remote
from oracles.spec import OracleSpec, service
from oracles.torch_model import TorchOracle
from oracles.wire.bodies import json_reply
from oracles.wire.contract import HttpReply, HttpRequest
from studies.cli.db import run_rows
from studies.cli.main import main
from studies.ledgers.run_words import oracle_in_words
from studies.scan import scan
from studies.scan.config import ScanConfig
from tests.fakes import planted_images
from tests.oracles.remote.test_oracle import Plain
from tests.remote_server import Behaviour, seeded, serving
from tests.studies.scans import IMAGES, TemplateNet, arrays, scanned, told

pytestmark = pytest.mark.process

CANARY = "sk-canary-3f1c9a77b2"

UNSPENT = "the next step needs 40 queries, and 6 are left"
"""The note of a scan of `SETTINGS` with 700 queries, whose last 6 pay for no step."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "FIRST_WAIT", 0.002)


def victim(**spec: Any) -> Oracle:
    net = TorchOracle(TemplateNet(target=1), IMAGES.image_shape, n_classes=4)
    return service(OracleSpec(**spec), net)


def stored(db: Path) -> np.ndarray[Any, Any]:
    return reads.queries(db)[["image", "candidate", "label", "score", "charged"]].to_numpy(float)


SERVICES: list[dict[str, Any]] = [{}, {"top_k": 2}, {"label_only": True}, {"score_noise": 0.05, "decimals": 2}]


@pytest.mark.parametrize("spec", SERVICES, ids=str)
@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_scan_over_http_with_faults_is_the_scan_in_process(
    spec: dict[str, Any], in_flight: int, tmp_path: Path
) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    wanted = scanned(TemplateNet(target=1), budget=700, db=here, oracle=spec)
    labels = {"oracle": "label"} if "label_only" in spec else {}  # which the searcher must know
    with serving(victim(**spec), Behaviour(fails=seeded(0.3, 7)), max_batch=16) as served:
        got = scanned(served.url, budget=700, db=there, remote={"in_flight": in_flight}, **labels)
        assert told(got) == told(wanted)
        assert arrays(got) == arrays(wanted)
        assert np.array_equal(stored(here), stored(there), equal_nan=True)
        assert served.spent == got.spent
        assert check(there) == []


def test_its_attempts_are_in_the_ledger_with_what_was_charged(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    with serving(victim(), Behaviour(fails=seeded(0.3, 2)), max_batch=16) as served:
        result = scanned(served.url, budget=700, db=db)
        sent = len(served.requests)
    with Ledger.open(db) as ledger:
        events = ledger.begin(StoredRun.read(db, result.run).info).attempts()
    assert sum(event.outcome == "sent" for event in events) == sent
    assert {event.outcome for event in events} == {"sent", "answered", "refused", "lost", "failed"}
    answered = [event for event in events if event.outcome == "answered"]
    assert sum(event.queries for event in answered) == result.spent
    assert sum(event.charged or 0 for event in answered) <= result.spent  # an answer that was lost was charged before
    assert result.notes == UNSPENT


@pytest.mark.parametrize("honest", [True, False])
def test_answered_calls_are_stored_before_the_next_is_awaited(honest: bool, tmp_path: Path) -> None:
    """A service that knows no idempotency keys is asked nothing twice after an error either."""
    db, refused = tmp_path / "scan.db", set(range(7, 10))
    behaviour = Behaviour(idempotent=honest, says=honest, ordered=honest)
    with serving(victim(), behaviour, max_batch=16) as served:
        wanted = scanned(served.url, budget=700, db=tmp_path / "whole.db", remote={"in_flight": 1})
    behaviour = Behaviour(idempotent=honest, says=honest, ordered=honest)
    with serving(victim(), behaviour, max_batch=16) as served:
        behaviour.before = lambda request: denied(request) if len(served.requests) in refused else None
        for _ in refused:
            with pytest.raises(ModelError, match="closed"):
                scanned(served.url, budget=700, db=db, remote={"in_flight": 1})
            assert sum(reads.spend(db)["queries"]) == served.spent
        got = scanned(served.url, budget=700, db=db, remote={"in_flight": 1})
        assert (told(got), arrays(got)) == (told(wanted), arrays(wanted))
        assert served.spent == got.spent == len(reads.queries(db))
        assert check(db) == []


def test_a_service_whose_lists_differ_in_length_is_scanned_and_resumed(tmp_path: Path) -> None:
    """The answers to the calls of one step have several forms; each is stored as it was given."""
    db, classes = tmp_path / "scan.db", tuple(f"class {number}" for number in range(4))
    behaviour = Behaviour(says=False, before=lambda _: None)
    with serving(victim(threshold=0.02, score_noise=0.03), behaviour, wire=Plain()) as served:
        target = f"hf:{served.url.partition('/v2')[0]}/models/net"
        remote = {"in_flight": 1, "class_names": classes}
        wanted = scanned(target, budget=300, db=tmp_path / "whole.db", remote=remote)
    with serving(victim(threshold=0.02, score_noise=0.03), behaviour, wire=Plain()) as served:
        target = f"hf:{served.url.partition('/v2')[0]}/models/net"
        behaviour.before = lambda request: denied(request) if len(served.requests) in (50, 120) else None
        for _ in range(2):
            with pytest.raises(ModelError, match="closed"):
                scanned(target, budget=300, db=db, remote=remote)
        got = scanned(target, budget=300, db=db, remote=remote)
        assert (told(got), arrays(got)) == (told(wanted), arrays(wanted))
        assert np.array_equal(stored(tmp_path / "whole.db"), stored(db))
        assert len(set(reads.sql(db, "SELECT codec FROM calls")["codec"])) > 1
        assert check(db) == []


def denied(request: HttpRequest) -> HttpReply | None:
    return json_reply({"error": "closed", "kind": "expired"}, 401) if request.method == "POST" else None


@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("restricted", [{}, {"oracle": "top3"}], ids=str)
def test_a_spent_budget_of_the_service_is_no_verdict_and_goes_on_after_a_top_up(
    in_flight: int, restricted: dict[str, Any], tmp_path: Path
) -> None:
    wants: dict[str, Any] = {"budget": 700, "remote": {"in_flight": in_flight}, **restricted}
    with serving(victim(), max_batch=16) as served:
        wanted = scanned(served.url, db=tmp_path / "whole.db", **wants)
    db, behaviour = tmp_path / "scan.db", Behaviour(budget=300)
    with serving(victim(), behaviour, max_batch=16) as served:
        for cap in (300, 300, 500):
            behaviour.budget = cap
            with pytest.raises(ServiceBudgetSpent, match="topped up") as raised:
                scanned(served.url, db=db, **wants)
            assert f"has {cap - served.spent} queries left" in str(raised.value)
            assert cap - 16 < served.spent == len(reads.queries(db)) <= cap
            assert reads.sql(db, "SELECT count(*) AS n FROM refusals")["n"].item() == 0
            assert check(db) == []
        behaviour.budget = None
        got = scanned(served.url, db=db, **wants)
        assert (told(got), arrays(got)) == (told(wanted), arrays(wanted))
        assert served.spent == got.spent == len(reads.queries(db))


@pytest.mark.parametrize("answers", [2, 3])
@pytest.mark.parametrize("oracle", ["top2", "label"])
def test_a_service_of_top_classes_may_be_restricted_further(answers: int, oracle: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    wanted = scanned(TemplateNet(target=1), budget=700, db=here, oracle=oracle)
    with serving(victim(top_k=answers), max_batch=16) as served:
        got = scanned(served.url, budget=700, db=there, oracle=oracle)
        assert served.spent == got.spent
    assert (told(got), arrays(got)) == (told(wanted), arrays(wanted))
    assert np.array_equal(stored(here), stored(there), equal_nan=True)


@pytest.mark.parametrize(("spec", "words"), [({}, "scores"), ({"top_k": 3}, "top3"), ({"top_k": 1}, "top1")])
def test_a_run_is_named_by_what_the_service_answered(spec: dict[str, Any], words: str, tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    with serving(victim(**spec), max_batch=16) as served:
        scanned(served.url, budget=400, db=db)
        scanned(served.url, budget=400, db=db, oracle="top1")
    assert [row["oracle"] for row in run_rows(db)] == [words, "top1"]
    assert [oracle_in_words(run.info, run.codecs) for run in survey(db)] == ["top1", words]


def test_a_service_of_labels_has_no_top_classes_and_the_error_says_what_to_give(tmp_path: Path) -> None:
    with serving(victim(label_only=True)) as served, pytest.raises(InvalidSpec, match="--oracle label"):
        scanned(served.url, budget=700, db=tmp_path / "scan.db", oracle="top3")


@pytest.mark.parametrize(("status", "counted"), [(429, True), (503, False)])
def test_what_was_refused_for_its_rate_and_asked_again_is_noted(status: int, counted: bool, tmp_path: Path) -> None:
    behaviour, refused = Behaviour(), []
    with serving(victim(), behaviour, max_batch=16) as served:

        def busy(request: HttpRequest) -> HttpReply | None:
            if request.method != "POST" or len(served.requests) % 5:
                return None
            refused.append(len(served.wire.read(request, served.interface).images))
            kind = "rate" if status == 429 else "unavailable"
            return json_reply({"error": "later", "kind": kind}, status, {"retry-after": "0"})

        behaviour.before = busy
        result = scanned(served.url, budget=700, db=tmp_path / "scan.db", remote={"in_flight": 1})
    said = f"{sum(refused):,} queries were refused by the service for now and asked again (see the table attempts)"
    assert sum(refused) > 0
    assert result.notes == (f"{UNSPENT}; {said}" if counted else UNSPENT)
    assert result.refused == 0
    assert result.to_json()["notes"] == result.notes


def test_a_budget_that_is_spent_before_the_first_answer_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, many = tmp_path / "images.npz", planted_images(460)
    np.savez(images, images=many.array, labels=many.labels)
    db, behaviour = tmp_path / "scan.db", Behaviour(budget=0)
    with serving(victim(), behaviour, max_batch=16) as served:
        line = ["scan", served.url, "--data", str(images), "--budget", "400", "--db", str(db)]
        line += ["--preset", "random-patch", "-s", "search_images=64", "-s", "verify_images=48"]
        assert main(line) == 4
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "has 0 queries left" in error
        assert "keys top-up" in error
        behaviour.budget = None
        assert main(line) in (0, 3)


def test_a_service_that_only_says_that_its_budget_is_spent_is_quoted(tmp_path: Path) -> None:
    def spent(request: HttpRequest) -> HttpReply | None:
        return json_reply({"error": "pay first", "kind": "budget"}, 403) if len(served.requests) > 9 else None

    behaviour = Behaviour(says=False)
    with serving(victim(), behaviour, max_batch=16) as served:
        behaviour.before = spent
        with pytest.raises(ServiceBudgetSpent, match="pay first"):
            scanned(served.url, budget=1500, db=tmp_path / "scan.db")
    assert len(reads.queries(tmp_path / "scan.db")) > 0


def test_the_way_to_ask_is_in_no_run_key_and_the_address_is() -> None:
    plain, set_up = ({"budget": 100}, {"budget": 100, "remote": {"in_flight": 8, "pace": "9/second", "key_env": "K"}})
    assert ScanConfig.of(plain).identity() == ScanConfig.of(set_up).identity()
    with serving(victim()) as one, serving(victim()) as other:
        assert remote(one.url).identity == remote(one.url, in_flight=9).identity
        assert remote(one.url).identity != remote(other.url).identity
    with serving(victim(), datatype="UINT8") as bytes_only:
        assert remote(bytes_only.url).identity != remote(bytes_only.url.replace("127.0.0.1", "localhost")).identity


def test_a_remote_oracle_is_scanned_by_itself_and_needs_no_name(tmp_path: Path) -> None:
    with serving(victim()) as served:
        by_name = scanned(served.url, budget=400, db=tmp_path / "scan.db")
        again = scanned(remote(served.url), budget=400, db=tmp_path / "scan.db")
        assert (again.run, served.spent) == (by_name.run, by_name.spent)


def test_a_preset_without_data_gets_the_shape_from_the_service(tmp_path: Path) -> None:
    with serving(victim()) as served:
        few = {"draws": 150, "samples": 8, "steps": 1}
        wants: dict[str, Any] = {
            "preset": "b3d-ss",
            "synthesis": few,
            "search_images": 16,
            "verify_images": 16,
        }
        result = scan(served.url, budget=1_000, db=tmp_path / "scan.db", **wants)
        assert result.spent == served.spent > 0


@pytest.mark.parametrize("name", ["mean", "batch_limit", "output"])
def test_settings_of_local_models_are_refused_before_anything_is_sent(name: str) -> None:
    given = {"mean": 0.5, "batch_limit": 7, "output": "logits"}[name]
    with serving(victim()) as served, pytest.raises(InvalidSpec, match=name):
        scanned(served.url, budget=100, **{name: given})


def test_no_key_is_stored_printed_or_raised(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", CANARY)
    images = tmp_path / "images.npz"
    many = planted_images(460)  # a quarter is the test split
    np.savez(images, images=many.array, labels=many.labels)
    with serving(victim(), Behaviour(key=CANARY, fails=seeded(0.2, 3)), max_batch=16) as served:
        line = ["scan", served.url, "--data", str(images), "--budget", "400", "--db", str(tmp_path / "scan.db")]
        sets = ["--preset", "random-patch", "-s", "search_images=64", "-s", "verify_images=48"]
        assert main([*line, *sets, "--api-key-env", "SERVICE_KEY"]) in (0, 3)
        served.behaviour.key = "another"  # whose refusal repeats the key that it got
        assert main([*line, *sets, "--api-key-env", "SERVICE_KEY", "--seed", "1"]) == 4
        assert main(["report", str(tmp_path / "scan.db"), "--out", str(tmp_path / "page.html")]) == 0
    out, err = capfd.readouterr()
    assert "refuses the API key" in err
    assert CANARY not in out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
