"""The demo's folder, made once: two victims of the digits, and where it is asked for a ledger of eight scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from simkit.zoo.zoo import make
from studies.cli import main
from studies.demo import SPEC


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads belongs to a run's identity; tests agree on one, in whatever process they scan."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
