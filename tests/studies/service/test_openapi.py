"""The description of the service: every route stands in it, and no request made up from it breaks the service."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from db.check import check
from oracles.wire import registry
from oracles.wire.contract import HttpRequest, Wire
from tests.studies.service.served import Provider, provider, question

DOCUMENT = yaml.safe_load((files("studies.service") / "openapi.yaml").read_text("utf-8"))
OWN = {("GET", "/health"), ("GET", "/metrics"), ("GET", "/openapi.yaml")}


def test_every_route_is_described_and_no_other() -> None:
    routes = {(at.method, at.path) for name in registry.NAMES for at in registry.wire(name).routes}
    paths = DOCUMENT["paths"].items()
    described = {(method.upper(), path) for path, found in paths for method in found if method != "parameters"}
    assert described == routes | OWN


def test_it_is_served_to_anybody(service: Provider) -> None:
    reply = service.send(HttpRequest("GET", "/openapi.yaml"))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/yaml")
    assert yaml.safe_load(reply.body) == DOCUMENT


def test_every_reference_leads_somewhere() -> None:
    def references(value: object) -> list[str]:
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        if not isinstance(value, dict):
            return []
        return [*([value["$ref"]] if "$ref" in value else []), *references(list(value.values()))]

    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        place = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@pytest.mark.parametrize("wire", [registry.wire(name) for name in registry.NAMES], ids=registry.NAMES)
def test_headers_of_an_answer_are_described(wire: Wire, service: Provider) -> None:
    known = {name.lower() for name in DOCUMENT["x-told"]}
    usual = {"content-type", "content-length", "x-content-type-options", "cache-control"}
    usual |= {"inference-header-content-length"}
    reply = service.send(question(wire, service.key(budget=3, rate="10/second")), idempotency_key="k")
    assert known - set(reply.headers) <= {"idempotency-replayed", "simkit-answer"}
    assert set(reply.headers) <= known | usual


def test_headers_of_a_description_are_described(service: Provider) -> None:
    key = service.key()
    described = [
        (path, methods["get"]["responses"]["200"].get("headers", {}))
        for path, methods in DOCUMENT["paths"].items()
        if methods.get("get", {}).get("security")
    ]
    assert len(described) > 7
    places = dict.fromkeys(("model", "version", "project", "location", "user", "app"), "m")
    for path, headers in described:
        reply = service.send(HttpRequest("GET", path.format(**places), {"authorization": f"Bearer {key.text}"}))
        assert reply.status == 200, path
        own = {name for name in reply.headers if name.startswith("simkit-")}
        assert own == {name.lower() for name in headers}, path


@pytest.mark.slow
def test_nothing_made_up_from_it_breaks_the_service(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from tests.studies.service.fuzz import fuzz

    with provider(tmp_path) as service:
        statuses = fuzz(service, 300)
        assert statuses[200] > 30
        assert {400, 401, 404} <= statuses.keys()
        assert service.send(question(registry.wire("oip"), service.key())).status == 200
    assert check(tmp_path / "provider.db") == []
