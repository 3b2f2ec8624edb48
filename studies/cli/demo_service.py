"""`simkit demo --service`: the demo's victims behind an HTTP API, scanned by a second process that has only a key."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from db import reads
from db.check import check
from db.errors import StorageError
from oracles.remote import transport as _transport  # noqa: F401 (it names the extra [remote] where that is missing)
from simkit.children import children, fork_server
from simkit.files import make_folder, write_atomically
from simkit.progress import OnProgress
from simkit.zoo.manifest import Victim
from simkit.zoo.zoo import make
from studies.cli.demo_digits import PRESET, SETTINGS, SPEC
from studies.cli.demo_scans import in_words
from studies.scan.run import scan
from studies.service.config import ServiceConfig
from studies.service.keys import new_key
from studies.service.serving import serve

Rows = list[dict[str, object]]

COLUMNS = ("model", "truth", "verdict", "queries", "seconds")

_VARIABLE = "SIMKIT_DEMO_KEY"
_POLL = 0.05
_FILE = """# the service of `simkit demo --service`
listen = "127.0.0.1:0"
db = "provider.db"
keys = "KEYS.toml"
console_token = "console-token"
keep_pictures = "50 MB"
"""
_MODEL = """
[[model]]
name = "victim-{index}"
file = "../digits:{index}"
oracle = {{top_k = 3}}
"""
_WATCH = """
[[watch]]
detector = "piha"
action = "log"
"""


@dataclass(frozen=True)
class ServiceDemo:
    """A folder with the service's file, its keys, the token of its console and both ledgers."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "service.toml"

    @property
    def token(self) -> Path:
        return self.folder / "console-token"

    @property
    def provider(self) -> Path:
        return self.folder / "provider.db"

    @property
    def caller(self) -> Path:
        return self.folder / "caller.db"

    def sums(self) -> tuple[int, int, list[str]]:
        """Queries that the provider charged and that the caller spent, and what `db check` finds in both ledgers."""
        charged, spent = (int(reads.spend(db)["charged"].sum()) for db in (self.provider, self.caller))
        return charged, spent, [*check(self.provider), *check(self.caller)]


def prepared(out: Path, progress: OnProgress) -> tuple[ServiceDemo, tuple[Victim, ...]]:
    """Train the demo's victims in `out` unless they are there, and write the file of a service in a new folder.

    Raises as `make` does, and StorageError.
    """
    progress(0, 2 * SPEC.models, "training two victims")
    zoo = make(SPEC, out / "digits")
    made = ServiceDemo(_new_folder(out))
    models = "".join(_MODEL.format(index=index) for index in range(len(zoo.victims)))
    write_atomically(made.file, (_FILE + models + _WATCH).encode())
    with open(os.open(made.token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    return made, zoo.victims


def scanned(
    made: ServiceDemo, victims: tuple[Victim, ...], progress: OnProgress, ready: Callable[[str, Rows], None]
) -> Rows:
    """Serve the victims in one process and scan them over HTTP in another; a row for each scan.

    ready: called with the service's address and the rows, while the service still runs; the service ends with it.
    Raises as `serve` and `scan` do.
    """
    key = new_key(made.folder / "KEYS.toml", {"name": "the demo", "budget": 20_000, "rate": "5000/second"}).text
    rows: Rows = []
    with children(2, fork_server("studies.scan.run"), 1) as pool, _served(pool, made) as url:
        for index, victim in enumerate(victims):
            progress(SPEC.models + index, 2 * SPEC.models, "scanning a victim over HTTP")
            address = f"{url}/v2/models/victim-{index}"
            verdict, flagged, queries, seconds = pool.submit(_scan, address, made.caller, key).result()
            found = {"verdict": in_words(verdict, flagged), "queries": queries, "seconds": round(seconds, 2)}
            rows.append({"model": address, "truth": in_words(victim.truth, victim.target_classes)} | found)
        ready(url, rows)
    return rows


@contextmanager
def _served(pool: Executor, made: ServiceDemo) -> Iterator[str]:
    """The address of the service, in a process of its own that ends with the body."""
    place = made.folder / "address"
    service = pool.submit(_serve, made.file, place)
    while not place.exists():
        if wait([service], timeout=_POLL).done:
            service.result()  # raises what was wrong
    url, process = place.read_text().split()
    place.unlink()
    yield url
    os.kill(int(process), signal.SIGTERM)  # running calls end, and the ledger is closed
    service.result()


def _serve(file: Path, place: Path) -> None:
    os.setsid()  # Ctrl-C of the terminal is for the command, which ends the service
    serve(ServiceConfig.load(file), lambda at: write_atomically(place, f"{at.url} {os.getpid()}".encode()))


def _scan(address: str, db: Path, key: str) -> tuple[str, tuple[int, ...], int, float]:
    """As `simkit scan ADDRESS --api-key-env SIMKIT_DEMO_KEY`, in a process that knows no more of the service."""
    os.environ[_VARIABLE] = key
    remote = {"key_env": _VARIABLE}
    result = scan(address, data="digits", preset=PRESET, db=db, remote=remote, **SETTINGS)
    return result.verdict, tuple(result.flagged), result.spent, result.seconds


def _new_folder(out: Path) -> Path:
    make_folder(out)
    for number in count(1):
        try:
            (out / f"service-{number}").mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"{out}: a folder in it cannot be created ({error.strerror}); name another") from error
        return out / f"service-{number}"
    raise AssertionError("numbers do not end")
