"""A zoo to tune on, and Optuna's logger as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from tests.studies.tune.files import tune_zoo


@pytest.fixture
def zoo(demo_victims: Path, tmp_path: Path) -> Path:
    """The folder `zoo` of `tmp_path`: one clean victim of the digits and a backdoored one."""
    return tune_zoo(demo_victims, tmp_path)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)
