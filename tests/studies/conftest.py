"""The demo's folder, made once: two victims of the digits, and where it is asked for a ledger of eight scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simkit.zoo.zoo import make
from studies.cli import main
from studies.demo import SPEC
from tests.threads import one_torch_thread


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads belongs to a run's identity; tests agree on one, in whatever process they scan."""
    with one_torch_thread():
        yield


@pytest.fixture(scope="session")
def demo_victims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder with its zoo alone, a quarter of the work."""
    folder = tmp_path_factory.mktemp("demo")
    make(SPEC, folder / "zoo")
    return folder


@pytest.fixture(scope="session")
def demo_folder(demo_victims: Path) -> Path:
    assert main(["demo", "--out", str(demo_victims)]) == 0
    return demo_victims
