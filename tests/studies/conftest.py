"""The demo's folder, made once: two victims of the digits, and where asked for a ledger of sixteen scans; a browser."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, create_engine

from db import prepare
from db.migrations import upgrade
from simkit.zoo.zoo import make
from studies.cli.demo_digits import SPEC
from studies.cli.main import main
from tests.threads import one_torch_thread

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads belongs to a run's identity; tests agree on one, in whatever process they scan."""
    with one_torch_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def one_schema() -> Iterator[None]:
    """The migrations run once, and every new ledger here gets what they made; those of `tests/db` run them each."""
    with create_engine("sqlite://").begin() as connection:
        upgrade(connection)
        made = connection.connection.driver_connection
        assert isinstance(made, sqlite3.Connection)
        statements = [line for line in made.iterdump() if line not in ("BEGIN TRANSACTION;", "COMMIT;")]
        numbers = [(name, made.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")]
    statements += [f"PRAGMA {name} = {number}" for name, number in numbers]

    def upgraded(connection: Connection) -> None:
        if connection.exec_driver_sql("SELECT 1 FROM sqlite_master").first():
            upgrade(connection)
            return
        for statement in statements:
            connection.exec_driver_sql(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "upgrade", upgraded)
        yield


@pytest.fixture(scope="session")
def demo_victims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder with its zoo alone, a quarter of the work."""
    folder = tmp_path_factory.mktemp("demo")
    make(SPEC, folder / "zoo")
    return folder


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `simkit demo`, with its four victims and sixteen scans."""
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, for tests that carry the mark `browser`; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    program = os.environ.get("SIMKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium: install one, or set SIMKIT_CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        # the page is our own, and containers allow Chromium no sandbox
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
