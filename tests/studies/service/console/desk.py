"""A console in this process, around a gate on a known model, and what its tests ask of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from db.ledger import Ledger
from db.service_records import Alarm
from oracles.spec import OracleSpec
from oracles.wire.contract import Interface, Problem
from studies.service.console.routes import Console, add_console
from studies.service.gate import Gate
from studies.service.keys import Key, KeyFile, new_key
from studies.service.models import Opened
from studies.service.session import ServedModel
from tests.oracles.fakes import LinearOracle
from tests.studies.service.conftest import alarmed, asked, sent

TOKEN = "an-admin-token-that-is-a-canary-0123456789"
ORIGIN = {"origin": "http://testserver"}
SPEC = OracleSpec(top_k=3, rate_limit="1000/second")


@dataclass(frozen=True)
class Desk:
    """A console and the service behind it. secrets: what must stand on no page."""

    client: TestClient
    gate: Gate
    app: Starlette
    keys: Path
    db: Path
    ledger: Ledger
    secrets: list[str]

    def key(self, **fields: Any) -> Key:
        """A new key."""
        made = new_key(self.keys, {"name": "a lab"} | fields)
        self.secrets.extend((made.text, made.text.split("-", 2)[2], made.aws_secret, made.key.sha256))
        return made.key

    def asked(self, key: Key, count: int = 2, seed: int = 0, model: str = "m") -> None:
        """A call of the key; a refusal is recorded by the gate."""
        question = asked(count, seed)
        with suppress(Problem):
            self.gate.call(key, model, question, sent(question))

    def alarm(self, key: Key, detector: str = "blacklight", ban: bool = True) -> None:
        """An alarm about a key that has asked; it bans the key."""
        alarmed(self.ledger, key, Alarm(detector, 0.9, 0, 2, "ban" if ban else "log"))

    def login(self) -> Desk:
        """Logged in."""
        reply = self.client.post("/console/login", data={"token": TOKEN}, headers=ORIGIN)
        assert (reply.status_code, reply.headers["location"]) == (303, "/console")
        return self

    def page(self, path: str = "/console", status: int = 200) -> str:
        """A page, without any secret on it."""
        reply = self.client.get(path)
        assert reply.status_code == status, reply.text
        assert not [secret for secret in [TOKEN, *self.secrets] if secret in reply.text]
        return reply.text

    def post(self, path: str, headers: dict[str, str] = ORIGIN, **fields: str) -> Response:
        """A change, with the form's token unless `form` is given."""
        found = re.search(r'name="form" value="([^"]+)"', self.client.get("/console").text)
        form = {"form": found[1] if found else ""} | fields
        return self.client.post(path, data=form, headers=headers)


@contextmanager
def desk(folder: Path, keep: int = 0, spec: OracleSpec = SPEC, secure: bool = False) -> Iterator[Desk]:
    """A console of two models, `m` and `other`, whose file of keys holds one that nobody uses."""
    keys, db = folder / "keys.toml", folder / "provider.db"
    new_key(keys, {"name": "nobody", "budget": 0})
    with Ledger.open(db) as ledger:
        models = {name: ServedModel(name, LinearOracle(), "a" * 64, spec) for name in ("m", "other")}
        gate = Gate(models, ledger, keep=keep)
        classes = ("zero", "one", "two", "three", "four")
        opened = tuple(Opened(one, Interface(name, (3, 4, 4), classes)) for name, one in models.items())
        app = Starlette()
        add_console(app, Console(TOKEN, db, KeyFile(keys), opened, gate.seen_rates, secure))
        client = TestClient(app, follow_redirects=False)
        yield Desk(client, gate, app, keys, db, ledger, [re.findall(r'secret = "(\w+)"', keys.read_text())[0]])
