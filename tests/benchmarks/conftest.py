"""Victims that take a moment to make."""

from __future__ import annotations

from pathlib import Path

import pytest

from simkit.zoo.train_config import TrainConfig
from simkit.zoo.zoo import make
from studies.cli.demo_digits import SPEC


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two victims, trained for a moment: it makes no difference here what they are."""
    folder = tmp_path_factory.mktemp("zoo") / "zoo"
    make(SPEC.model_copy(update={"train": TrainConfig(epochs=1), "required_success": 0.0}), folder)
    return folder
