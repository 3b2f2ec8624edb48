"""The slides' accessibility table, from the types alone."""

from __future__ import annotations

from typing import Any

from simkit.detectors.access import Detector
from simkit.detectors.whitebox.activation_clustering import ActivationClustering
from simkit.detectors.whitebox.data_free_cleanse import DataFreeCleanse
from studies.study.access_table import AccessRow, access_rows, repair_rows
from studies.study.detectors import Method, methods
from tests.studies.study.detectors import ASKS, LOOKS, Imagines


def _row(title: str, name: str, access: str, **reached: bool) -> AccessRow:
    none = {"weights": False, "training_data": False, "clean_data": False, "queries": False}
    stage = "training" if reached.get("training_data") else "inference"
    return AccessRow(title, (name,), access, stage, "verdict", **none | reached)  # type: ignore[arg-type]


def test_the_flags_are_what_the_access_holds() -> None:
    detectors: tuple[Detector[Any], ...] = ASKS, LOOKS, Imagines(), DataFreeCleanse(), ActivationClustering()
    rows = access_rows([Method(name, name.upper(), made) for name, made in zip("abcde", detectors, strict=True)])
    assert rows == [
        _row("A", "a", "QueryDataAccess", clean_data=True, queries=True),
        _row("B", "b", "WeightAccess", weights=True, clean_data=True),
        _row("C", "c", "QueryAccess", queries=True),
        _row("D", "d", "ModelAccess", weights=True),
        _row("E", "e", "TrainingDataAccess", weights=True, training_data=True),
    ]


def test_schedules_of_one_detector_share_a_row_and_others_do_not() -> None:
    two = [Method("a-quick", "A (quick)", LOOKS), Method("b", "B", LOOKS), Method("a-slow", "A (slow)", LOOKS)]
    assert [row.names for row in access_rows(two)] == [("a-quick", "a-slow"), ("b",)]
    assert len(access_rows([Method("a", "A (1)", LOOKS), Method("b", "A (2)", ASKS)])) == 2


def test_the_slides_detectors_reach_what_the_slides_say() -> None:
    rows = [*access_rows(methods().values()), *repair_rows()]
    told = {row.title: (row.stage, row.weights, row.training_data, row.clean_data) for row in rows}
    assert told["Activation clustering"] == ("training", True, True, False)
    assert told["Fine-pruning"] == ("training", True, False, True)
    assert told["Neural Cleanse"] == told["TABOR"] == ("inference", True, False, True)
    assert told["Neural Cleanse without data"] == ("inference", True, False, False)
    assert told["B3D"] == ("inference", False, False, True)
    assert told["B3D-SS"] == ("inference", False, False, False)
    assert all(row.weights != row.queries for row in rows)
    assert {row.title for row in rows if row.gives == "model"} == {"Fine-pruning"}
