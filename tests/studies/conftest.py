"""The demo's folder, made once: two victims of the digits and a ledger of eight scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studies.cli import main


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads belongs to a run's identity; tests agree on one, in whatever process they scan."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(folder)]) == 0
    return folder
