"""Settings given as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from studies.scan.overrides import whole_numbers, with_settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a=3", 3),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=[1, 2]", [1, 2]),
        ('a="3"', "3"),
        ("a=digits", "digits"),
        ("a=data/cifar10", "data/cifar10"),
        ("a=x=y", "x=y"),
        ("a=none", None),
        ("a=", ""),
        ("a=1\nb=2", "1\nb=2"),
    ],
)
def test_a_value_is_read_as_what_it_looks_like(setting: str, value: object) -> None:
    assert with_settings({}, [setting]) == {"a": value}


def test_a_dot_goes_into_a_table_and_leaves_the_rest() -> None:
    fields: dict[str, Any] = {"train": {"epochs": 5, "batch": 128}, "models": 4}
    merged = with_settings(fields, ["train.epochs=3", "train.epochs=2", "new.deep.key=1"])
    assert merged == {"train": {"epochs": 2, "batch": 128}, "models": 4, "new": {"deep": {"key": 1}}}
    assert fields == {"train": {"epochs": 5, "batch": 128}, "models": 4}


@pytest.mark.parametrize("setting", ["models", "=3", ".a=3", "a.=3", "a..b=3", "models.deep=3"])
def test_what_is_no_setting_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        with_settings({"models": 4}, [setting])


@given(st.text(st.characters(exclude_characters="=.")).filter(bool), st.text())
def test_any_text_sets_one_key_or_is_refused(key: str, value: str) -> None:
    assert list(with_settings({}, [f"{key}={value}"])) == [key]


@pytest.mark.parametrize("value", ["[" * 10_000, "9" * 5_000, "{a=" * 10_000])
def test_what_no_parser_takes_is_text(value: str) -> None:
    assert with_settings({}, [f"a={value}"]) == {"a": value}


def test_several_whole_numbers() -> None:
    assert whole_numbers("--at", "1000,30") == (1000, 30)
    assert whole_numbers("--at", None) == ()
    with pytest.raises(ConfigError, match="--at '1k': write numbers of queries, for example 1000,3000"):
        whole_numbers("--at", "1k")
