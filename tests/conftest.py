"""Fixtures that more than one package's tests need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; skips where it is absent. Tests that ask for it carry the mark `data`."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SIMKIT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data sets: set SIMKIT_DATA to their folder")
    return folder
