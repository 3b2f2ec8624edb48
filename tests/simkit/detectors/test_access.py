"""A detector takes the access that it is for: mypy, which is strict on this file, refuses every other."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from torch import nn

from simkit.detectors import access
from simkit.detectors.access import QueryAccess, QueryDataAccess, WeightAccess
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from tests.fakes import PlantedOracle, planted_images

if TYPE_CHECKING:
    # the ignores are the test: were a pairing allowed, mypy would call its ignore unused, an error in strict mode
    def wrong_pairings(detector: TriggerSearch, white_box: access.Detector[WeightAccess]) -> None:
        detector.detect(QueryAccess(PlantedOracle()))  # type: ignore[arg-type]
        detector.detect(WeightAccess(nn.Identity(), planted_images(4)))  # type: ignore[arg-type]
        white_box.detect(QueryDataAccess(PlantedOracle(), planted_images(4)))  # type: ignore[arg-type]
        not_a_white_box: access.Detector[WeightAccess] = detector  # type: ignore[assignment]
        del not_a_white_box

    def right_pairing(detector: TriggerSearch) -> access.Detector[QueryDataAccess]:
        return detector

    def wrong_pairings_without_data(detector: DataFreeSearch, with_data: TriggerSearch) -> None:
        detector.detect(QueryDataAccess(PlantedOracle(), planted_images(4)))  # type: ignore[arg-type]
        detector.detect(WeightAccess(nn.Identity(), planted_images(4)))  # type: ignore[arg-type]
        needs_no_data: access.Detector[QueryAccess] = with_data  # type: ignore[assignment]
        del needs_no_data

    def right_pairing_without_data(detector: DataFreeSearch) -> access.Detector[QueryAccess]:
        return detector


@pytest.mark.parametrize("kind", [QueryAccess, QueryDataAccess])
def test_no_black_box_access_holds_a_model(kind: type[QueryAccess]) -> None:
    assert "model" not in {f.name for f in fields(kind)}


def test_access_without_data_holds_no_images() -> None:
    assert {f.name for f in fields(QueryAccess)} == {"oracle", "limit", "steps"}
