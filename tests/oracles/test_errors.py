from __future__ import annotations

import pytest

from oracles.errors import (
    BudgetExhausted,
    InvalidImages,
    InvalidSpec,
    ModelError,
    OracleError,
    ReplayMismatch,
    likely,
    one_line,
)


def test_every_error_has_one_base() -> None:
    for kind in (BudgetExhausted, InvalidImages, InvalidSpec, ModelError, ReplayMismatch):
        assert issubclass(kind, OracleError)


def test_an_exhausted_budget_says_which_and_how_much() -> None:
    error = BudgetExhausted("study", 7, 3)
    assert str(error) == "the study budget has 3 queries left, 7 were asked for"
    assert (error.name, error.wanted, error.remaining) == ("study", 7, 3)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError"),
        ("\n  first \nsecond", "ValueError: first"),
        ("ValueError: told twice", "ValueError: told twice"),
        ("Traceback of TorchScript:\n  at 3\nRuntimeError: last", "ValueError: RuntimeError: last"),
    ],
)
def test_one_line_of_an_error(text: str, line: str) -> None:
    assert one_line(ValueError(text)) == line


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("lable", "; did you mean 'label'?"),
        ("nosy", "; did you mean 'noisy'?"),
        ("", "; choose from scores, label, noisy"),
        ("x" * 5000, "; choose from scores, label, noisy"),
    ],
    ids=["swapped", "left out", "empty", "long"],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_all(name: str, end: str) -> None:
    assert likely(name, ("scores", "label", "noisy")) == end


def test_all_names_stand_after_other_words() -> None:
    assert likely("x", ["a", "b"], "give") == "; give a, b"
