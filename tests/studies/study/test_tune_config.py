"""The `[tune]` table: what is read, and what is refused with a word about why."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import ValidationError

from studies.study.tune_config import B3D_SPACE, Choices, Span, TuneConfig


def read(text: str) -> TuneConfig:
    return TuneConfig.model_validate(tomllib.loads(text))


def test_an_empty_table_tunes_b3ds_three() -> None:
    config = read("")
    assert config.detector == "b3d"
    assert config.space == dict(B3D_SPACE)
    assert set(config.space) == {"search.sparsity.weight", "search.sigma", "search.samples"}


@pytest.mark.parametrize(
    "text",
    [
        '[space]\n"search.sigma" = { low = 0.1, high = 1 }\n"search_images" = { choices = [32, 64] }',
        "[space.search]\nsigma = { low = 0.1, high = 1 }\n[space]\nsearch_images = { choices = [32, 64] }",
        "[space]\nsearch.sigma = { low = 0.1, high = 1 }\nsearch_images.choices = [32, 64]",
    ],
)
def test_names_with_dots_are_nested_tables_or_quoted(text: str) -> None:
    assert read(text).space == {"search.sigma": Span(low=0.1, high=1), "search_images": Choices(choices=(32, 64))}


def test_whole_ends_make_whole_numbers() -> None:
    assert read("[space]\nk = { low = 2, high = 8 }").space["k"] == Span(low=2, high=8)
    assert Span(low=2, high=8).whole
    assert not Span(low=2.0, high=8).whole


def test_the_last_value_of_a_span_with_steps_is_one_that_can_be_drawn() -> None:
    assert Span(low=10, high=95, step=10).ends == (10, 90)
    assert Span(low=0.1, high=0.4, step=0.1).ends == pytest.approx((0.1, 0.4))
    assert Span(low=1, high=5).ends == (1, 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such = 1", "Extra inputs"),
        ("[space]", "at least 1 item"),
        ("[space]\nk = { low = 3, high = 3 }", "must lie below"),
        ("[space]\nk = { low = 0, high = 3, log = true }", "log needs low above 0"),
        ("[space]\nk = { low = 1, high = 3, log = true, step = 1 }", "log needs low above 0 and no step"),
        ("[space]\nk = { low = 1, high = 3, step = 0.5 }", "an integer where low and high are"),
        ("[space]\nk = { choices = [1] }", "at least 2 items"),
        ("[space]\nk = { choices = [1, 2, 1] }", "each value once"),
        ("[space]\nk = { low = nan, high = 3 }", "finite"),
        ("checkpoints = [0.5, 0.25]", "ascending"),
        ("checkpoints = [1.0]", "less than 1"),
        ("trials = 0", "greater than or equal to 1"),
        ('sampler = "grid"', "'tpe', 'random' or 'nsga2'"),
    ],
)
def test_what_is_impossible_is_told(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read(text)
