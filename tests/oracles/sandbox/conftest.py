"""Every test here starts a child process."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.sandbox import process

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("process")


def before_all(line: str) -> str:
    """The code of a child that runs `line` before it imports anything of the sandbox."""
    start, _, rest = process.CODE.partition("from oracles.sandbox.child")
    return f"{start}{line}; from oracles.sandbox.child{rest}"


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children in which the first wall, the readers' own checks, is switched off: see `deeds`."""
    monkeypatch.setattr(process, "CODE", before_all("import tests.oracles.sandbox.deeds"))
