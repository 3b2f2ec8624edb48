"""`simkit serve` and `simkit scan URL`, both killed and restarted, with faults on the way: the scan in process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.service_kills import Case, trial
from oracles.torch_model import TorchOracle
from tests.studies.scans import IMAGES, TemplateNet

VICTIM = TorchOracle(TemplateNet(target=1), IMAGES.image_shape, n_classes=4)
"""For `python:tests.benchmarks.test_service_kills:VICTIM`."""


@pytest.mark.process
@pytest.mark.slow
def test_kills_of_either_side_lose_nothing_and_charge_nothing_twice(tmp_path: Path) -> None:
    """`python -m benchmarks.service_kills` kills each side ten times."""
    data = tmp_path / "images.npz"
    np.savez(data, x_test=IMAGES.pixels.numpy(), y_test=IMAGES.labels)
    few = ("search_images=64", "verify_images=48", "search.rounds=60", "driver.check_images=16")
    options = ("--preset", "random-patch", "--budget", "1000", *(part for one in few for part in ("--set", one)))
    case = Case("python:tests.benchmarks.test_service_kills:VICTIM", str(data), options, batch=16)
    row = trial(case, ["service", "scan", "service"], in_flight=8, seed=0, folder=tmp_path)
    assert (row["differs"], row["lost"], row["charged_twice"]) == ([], 0, 0)
    assert row["kills"] == {"service": 2, "scan": 1}
    assert sum(row["faults"].values()) > 0
