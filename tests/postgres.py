"""A PostgreSQL server of the tests' own: in a temporary folder, reached through a socket there, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine

_SERVER = "-c listen_addresses='' -c fsync=off -c max_connections=50"
"""No port that another server may have; and nothing that must outlive a power cut."""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server with an empty database; skips where there can be none."""
    programs, prefix = _programs(), _as_another_user()
    folder = Path(tempfile.mkdtemp(prefix="simkit-pg-"))  # short: a socket's path has room for some 100 letters
    if prefix:
        shutil.chown(folder, "postgres")
    control: list[str | Path] = [*prefix, programs / "pg_ctl", "-D", folder / "data", "-w", "-s"]
    try:
        _run([*prefix, programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "tuner", "--no-sync"])
        _run([*control, "start", "-l", folder / "log", "-o", f"-k {folder} {_SERVER}"])
        try:
            yield f"postgresql://tuner@/postgres?host={folder}"
        finally:
            _run([*control, "stop", "-m", "immediate"])
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder of initdb, which Debian keeps off the path."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no psycopg: pip install 'b3d-simkit[postgres]'")
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        pytest.skip("no PostgreSQL: install Debian's postgresql")
    return versions[-1].parent


def _as_another_user() -> list[str | Path]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return ["runuser", "-u", "postgres", "--"]


def _run(command: list[str | Path]) -> None:
    # a server keeps the descriptors that it is started with: with pipes this would wait for its end
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()


def emptied(url: str) -> str:
    """The same URL, once the tables of services are gone from its database."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS simkit CASCADE")
    engine.dispose()
    return url
