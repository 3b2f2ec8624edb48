"""Requests made up from the service's own description, by schemathesis, and what must hold of every reply.

    python -m tests.studies.service.fuzz 10000

sends that many to a service in this process and prints the statuses. Models that there are stand in most paths, and
most requests carry a valid key, so that bodies are read.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from oracles.wire.contract import HttpReply, HttpRequest
from oracles.wire.sigv4 import Credential, Scope, signed
from studies.service.keys import NewKey
from tests.studies.service.served import Provider, provider

ARN = "arn:aws:rekognition:us-east-1:000000000000:project/{}/version/x/1"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAFklEQVR4nGNgYGD4jwzwcmAsbBgYGABiOAfxd0yBJwAAAABJRU5ErkJggg=="


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self.format(record))


def description() -> dict[str, Any]:
    """The service's description, with the models of the service under test in its paths."""
    found: dict[str, Any] = yaml.safe_load((files("studies.service") / "openapi.yaml").read_text("utf-8"))
    found["components"]["parameters"]["model"]["schema"] = {"enum": ["m", "m", "other", "nothing"]}
    schemas = found["components"]["schemas"]
    arns = [ARN.format(name) for name in ("m", "other", "nothing")]
    schemas["DetectCustomLabels"]["properties"]["ProjectVersionArn"] = {"anyOf": [{"enum": arns}, {"type": "string"}]}
    content = found["paths"]["/"]["post"]["requestBody"]["content"]
    content["application/json"] = content.pop("application/x-amz-json-1.1")  # which schemathesis cannot write
    schemas["Picture"] = {"anyOf": [{"const": PICTURE}, {"type": "string"}]}
    return found


def operations() -> list[Any]:
    """All operations of the service."""
    return [found.ok() for found in schemathesis.openapi.from_dict(description()).get_all_operations()]


def fuzz(service: Provider, cases: int) -> Counter[int]:
    """The statuses of so many replies or more, spread over all operations. Raises AssertionError."""
    keys = [service.key(), service.key(budget=3), service.key(rate="2/hour")]
    records, statuses, every = Records(), Counter[int](), operations()
    logging.getLogger("simkit").addHandler(records)
    try:
        for number in itertools.count():  # some operations have few different requests
            share = -(-(cases - sum(statuses.values())) // len(every))
            for operation in every:
                _fuzzed(service, operation, share, number, (keys, statuses))
            if sum(statuses.values()) >= cases:
                break
    finally:
        logging.getLogger("simkit").removeHandler(records)
    assert records.told == []
    return statuses


def _fuzzed(
    service: Provider, operation: Any, cases: int, number: int, kept: tuple[list[NewKey], Counter[int]]
) -> None:
    keys, statuses = kept
    modes = schemathesis.GenerationMode
    made = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in (modes.POSITIVE, modes.NEGATIVE)))

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made, st.sampled_from([*keys, None]), st.booleans())
    def send(case: Any, key: NewKey | None, signed: bool) -> None:
        statuses[_sent(service, case, key if signed else keys[0])] += 1

    send()


def _sent(service: Provider, case: Any, key: NewKey | None) -> int:
    options = case.as_transport_kwargs(base_url="http://testserver")
    names = ("method", "url", "params", "headers", "cookies", "json", "data", "files")
    made = requests.Request(**{name: options[name] for name in names if name in options}).prepare()
    body: bytes = made.body.encode() if isinstance(made.body, str) else made.body or b""
    given = {name.lower(): _latin(value) for name, value in made.headers.items() if name.lower() != "content-length"}
    if key is not None:
        scheme = "Key" if "clarifai" in str(case.operation.tags) else "Bearer"
        given |= {"prediction-key": key.text, "x-goog-api-key": key.text, "authorization": f"{scheme} {key.text}"}
    request = HttpRequest(str(made.method), str(made.path_url), {**given, "host": "testserver"}, body)
    if case.path == "/" and key is not None:
        request = _signed(request, key)
    reply = service.send(request)
    _check(reply, request)
    return reply.status


def _latin(value: str | bytes) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.encode("latin-1", "replace").decode("latin-1")


def _signed(request: HttpRequest, key: NewKey) -> HttpRequest:
    scope = Scope("us-east-1", "rekognition", datetime.now(UTC))
    return signed(request, "testserver", Credential(key.key.id, key.aws_secret), scope)


def _check(reply: HttpReply, request: HttpRequest) -> None:
    told = f"{reply.status} {reply.body[:300]!r} for {request}"
    assert reply.status == 200 or 400 <= reply.status < 500, told
    assert b"Traceback" not in reply.body, told
    kind = reply.headers.get("content-type", "").partition(";")[0]
    if kind in ("application/json", "application/x-amz-json-1.1"):
        json.loads(reply.body)
    else:
        assert reply.status == 200 or (reply.status == 400 and b"host" in reply.body), told


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, provider(Path(folder)) as service:
        statuses = fuzz(service, cases)
    print(f"{sum(statuses.values())} requests: {dict(sorted(statuses.items()))}")


if __name__ == "__main__":
    main()
