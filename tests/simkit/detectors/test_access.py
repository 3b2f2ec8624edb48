"""A detector takes the access that it is for: mypy, which is strict on this file, refuses every other."""

from __future__ import annotations

import functools
import operator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

from oracles.budget import Budget
from oracles.meter import Metered
from simkit.data import ImageSet
from simkit.detectors import access
from simkit.detectors.access import (
    ModelAccess,
    QueryAccess,
    QueryDataAccess,
    TrainingDataAccess,
    TrainingSet,
    WeightAccess,
    held,
    stated_access,
)
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.detectors.whitebox.activation_clustering import ActivationClustering
from simkit.detectors.whitebox.data_free_cleanse import DataFreeCleanse
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from simkit.errors import ConfigError, DataError
from simkit.fine_pruning import FinePruning
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

    def wrong_pairings_of_training_data(clusters: ActivationClustering, alone: DataFreeCleanse) -> None:
        images = planted_images(4)
        clusters.detect(WeightAccess(nn.Identity(), images))  # type: ignore[arg-type]
        clusters.detect(QueryDataAccess(PlantedOracle(), images))  # type: ignore[arg-type]
        alone.detect(WeightAccess(nn.Identity(), images))  # type: ignore[arg-type]
        alone.detect(QueryAccess(PlantedOracle()))  # type: ignore[arg-type]
        FinePruning().repair(TrainingDataAccess(nn.Identity(), TrainingSet(images)))  # type: ignore[arg-type]
        TrainingDataAccess(nn.Identity(), images)  # type: ignore[arg-type]
        ModelAccess(PlantedOracle(), (1, 12, 12))  # type: ignore[arg-type]

    def right_pairings_of_training_data(
        clusters: ActivationClustering, alone: DataFreeCleanse
    ) -> tuple[access.Detector[TrainingDataAccess], access.Detector[ModelAccess]]:
        return clusters, alone

    def right_pairing_without_data(detector: DataFreeSearch) -> access.Detector[QueryAccess]:
        return detector


@pytest.mark.parametrize("kind", [QueryAccess, QueryDataAccess])
def test_no_black_box_access_holds_a_model(kind: type[QueryAccess]) -> None:
    assert "model" not in {f.name for f in fields(kind)}


def test_access_without_data_holds_no_images() -> None:
    assert {f.name for f in fields(QueryAccess)} == {"oracle", "limit", "steps"}


IMAGES = planted_images(4)


@pytest.mark.parametrize(
    ("kind", "data"), [(WeightAccess, IMAGES), (ModelAccess, (1, 12, 12)), (TrainingDataAccess, TrainingSet(IMAGES))]
)
def test_an_oracle_has_no_weights_to_hold_and_is_asked_nothing(kind: Any, data: object) -> None:
    oracle = Metered(PlantedOracle(), budget := Budget(10))
    with pytest.raises(ConfigError, match=f"{kind.__name__} holds the model itself.*Metered has no weights"):
        kind(oracle, data)
    assert budget.spent == 0
    assert isinstance(kind(nn.Identity(), data).model, nn.Identity)


@pytest.mark.parametrize(
    ("needs", "name"),
    [
        (NeuralCleanse().detect, "WeightAccess"),
        (DataFreeCleanse().detect, "ModelAccess"),
        (ActivationClustering().detect, "TrainingDataAccess"),
        (FinePruning().repair, "WeightAccess"),
    ],
)
def test_what_needs_weights_refuses_an_oracle_and_asks_nothing(needs: Any, name: str) -> None:
    oracle = Metered(PlantedOracle(), budget := Budget(10))
    with pytest.raises(ConfigError, match=f"a {name} is needed, which holds model and .*, and not a QueryDataAccess"):
        needs(QueryDataAccess(oracle, IMAGES))
    assert budget.spent == 0


def test_training_images_have_labels() -> None:
    with pytest.raises(DataError, match="no label"):
        TrainingSet(ImageSet.unlabelled(IMAGES.pixels, "loose"))


def test_training_images_are_no_clean_images() -> None:
    assert held(TrainingDataAccess) == {nn.Module, TrainingSet}
    assert held(ModelAccess).isdisjoint({ImageSet, TrainingSet})
    assert ImageSet in held(WeightAccess)


def test_the_access_is_read_off_the_first_argument() -> None:
    assert stated_access(FinePruning().repair) is WeightAccess
    assert stated_access(ActivationClustering().detect) is TrainingDataAccess

    def untyped(access):  # type: ignore[no-untyped-def]
        return access

    assert stated_access(untyped) is None


class _Callable:
    def __call__(self, access: QueryAccess) -> None: ...


def _annotated(text: str) -> Any:
    def detect(access: Any) -> None: ...

    detect.__annotations__ = {"access": text}
    return detect


@pytest.mark.parametrize(
    "method",
    [
        *(len, operator.itemgetter(0), functools.partial(print), _Callable()),
        *map(_annotated, ("Unknown", "QueryAccess.orcale", "QueryAccess[0]", "QueryAccess[")),
    ],
)
def test_what_is_no_function_with_valid_annotations_states_no_access(method: Any) -> None:
    assert stated_access(method) is None
