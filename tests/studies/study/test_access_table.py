"""The slides' accessibility table, from the types alone."""

from __future__ import annotations

from studies.study.detectors import AccessRow, Method, access_rows, methods
from tests.studies.study.detectors import ASKS, LOOKS, Imagines


def test_the_flags_are_what_the_access_holds() -> None:
    rows = access_rows([Method("a", "A", LOOKS), Method("b", "B", Imagines()), Method("c", "C", ASKS)])
    assert rows == [
        AccessRow("A", ("a",), "WeightAccess", weights=True, clean_data=True, queries=False),
        AccessRow("B", ("b",), "QueryAccess", weights=False, clean_data=False, queries=True),
        AccessRow("C", ("c",), "QueryDataAccess", weights=False, clean_data=True, queries=True),
    ]


def test_schedules_of_one_detector_share_a_row_and_others_do_not() -> None:
    two = [Method("a-quick", "A (quick)", LOOKS), Method("b", "B", LOOKS), Method("a-slow", "A (slow)", LOOKS)]
    assert [row.names for row in access_rows(two)] == [("a-quick", "a-slow"), ("b",)]
    assert len(access_rows([Method("a", "A (1)", LOOKS), Method("b", "A (2)", ASKS)])) == 2


def test_the_slides_detectors_reach_what_the_slides_say() -> None:
    told = {row.title: (row.weights, row.clean_data, row.queries) for row in access_rows(methods().values())}
    assert told["Neural Cleanse"] == told["TABOR"] == (True, True, False)
    assert told["B3D"] == (False, True, True)
    assert all(weights != queries for weights, _, queries in told.values())
