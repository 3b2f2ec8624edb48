"""Runs a whole service by its configuration: models, keys, ledger, gate and server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from db.postgres import is_postgres
from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from oracles.wire import registry
from oracles.wire.contract import Interface
from simkit.errors import ConfigError, complaint
from studies.service.app import Limits, application
from studies.service.books import opened as opened_book
from studies.service.config import ModelEntry, ServiceConfig
from studies.service.console.login import admin_token
from studies.service.console.routes import Console, add_console
from studies.service.exchange import Exchange
from studies.service.gate import Gate
from studies.service.keys import KeyFile
from studies.service.metrics import Metrics
from studies.service.models import open_entry
from studies.service.server import Listening, run

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


@dataclass(frozen=True)
class Serving:
    """A service that accepts connections. url: its address. keys: that are valid now. console: whether it has one."""

    url: str
    interfaces: tuple[Interface, ...]
    keys: int
    console: bool


def serve(config: ServiceConfig, ready: Callable[[Serving], None], access_log: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; running calls end, and the ledger is closed.

    ready: called once connections are accepted. Raises ConfigError, ModelError, InvalidSpec and StorageError, all
    before the first connection.
    """
    token = admin_token(None if config.console_token is None else Path(config.console_token))
    if token is not None and is_postgres(config.db):
        raise ConfigError("the console reads a ledger, and db is a database; take away its token, or give a file")
    keys = KeyFile(Path(config.keys))
    valid = sum(not key.revoked for key in keys.all())
    opened = [open_entry(_watched(entry, config)) for entry in config.model]
    interfaces = {one.interface.model: one.interface for one in opened}
    with opened_book(config.db) as book:
        gate = Gate({one.served.name: one.served for one in opened}, book, keep=config.keep_pictures)
        app = application(Exchange(gate, keys, interfaces, Metrics()), Limits(hosts=_hosts(config)))
        if token is not None:
            secure = config.behind_proxy or config.tls_certificate is not None
            add_console(app, Console(token, Path(config.db), keys, tuple(opened), gate.seen_rates, secure))
        host, port = config.address
        listening = Listening(host, port, config.tls_certificate, config.tls_key, access_log=access_log)
        run(app, listening, lambda url: ready(Serving(url, tuple(interfaces.values()), valid, token is not None)))


def routes() -> list[tuple[str, str]]:
    """Format and path of each way to ask a model, the shortest path of each format."""
    found = []
    for name in registry.NAMES:
        paths = [route.path for route in registry.wire(name).routes if route.purpose == "classify"]
        found.append((name, paths[0]))
    return found


def _watched(entry: ModelEntry, config: ServiceConfig) -> ModelEntry:
    """The entry with the detector that watches its model. Raises ConfigError."""
    found = [one for one in config.watch if one.models is None or entry.name in one.models]
    if not found:
        return entry
    if len(found) > 1 or entry.oracle.watch is not None:
        raise ConfigError(f"model {entry.name}: two detectors watch it; keep one")
    fields = {"detector": found[0].detector, "action": found[0].action, **found[0].settings}
    try:
        spec = OracleSpec(**(entry.oracle.model_dump(exclude_unset=True) | {"watch": WatchSpec.model_validate(fields)}))
    except ValidationError as error:
        raise ConfigError(f"watch: {complaint(error, WatchSpec.model_fields)}") from None
    return entry.model_copy(update={"oracle": spec})


def _hosts(config: ServiceConfig) -> tuple[str, ...]:
    host, _ = config.address
    return (*config.hosts, host, *_LOOPBACK)
