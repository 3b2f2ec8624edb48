from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from simkit.search.sparsity import Mode, Sparsity, SparsityConfig

CONFIG = SparsityConfig(weight=0.01, raise_by=2.0, lower_by=4.0, patience=3, required_success=0.9, most=0.05)


def _after(rates: list[float], config: SparsityConfig = CONFIG) -> Sparsity:
    sparsity = Sparsity(config.weight)
    for rate in rates:
        sparsity = sparsity.after(rate, config)
    return sparsity


@pytest.mark.parametrize(
    ("rates", "weight"),
    [
        ([1.0, 1.0], 0.01),
        ([1.0, 0.9, 1.0], 0.02),
        ([0.0, 0.89], 0.01),
        ([0.0, 0.5, 0.89], 0.0025),
        ([1.0, 1.0, 0.0, 1.0, 1.0], 0.01),
        ([1.0] * 5, 0.02),
        ([1.0] * 6, 0.04),
        ([1.0] * 9, 0.05),
        ([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0.0025),
    ],
)
def test_the_weight_moves_after_patience_updates_in_a_row(rates: list[float], weight: float) -> None:
    assert _after(rates).weight == pytest.approx(weight)


@pytest.mark.parametrize(
    "change",
    [{"weight": 0.0}, {"raise_by": 1.0}, {"lower_by": 0.5}, {"patience": 0}, {"required_success": 1.1}],
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SparsityConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rate", "factor"),
    [(0.9, 1.0), (1.0, 2.0), (0.95, 2.0**0.5), (0.0, 1 / 4.0), (0.45, 4.0**-0.5)],
)
def test_the_proportional_weight_moves_by_the_distance_at_once(rate: float, factor: float) -> None:
    assert _after([rate], replace(CONFIG, mode="proportional")).weight == pytest.approx(0.01 * factor)


def test_the_proportional_weight_follows_the_smoothed_rate() -> None:
    config = replace(CONFIG, mode="proportional", smoothing=0.5, most=1.0)
    first = _after([1.0], config)
    second = first.after(0.8, config)
    assert second.success_rate == pytest.approx(0.9)
    assert [first.weight, second.weight] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize("mode", ["patience", "proportional", "working"])
def test_the_size_is_left_out_of_a_step_only_where_nothing_works_and_the_mode_says_so(mode: Mode) -> None:
    config, sparsity = replace(CONFIG, mode=mode), Sparsity(0.02)
    assert sparsity.of_step(0.0, config) == (0.0 if mode == "working" else 0.02)
    assert sparsity.of_step(0.1, config) == 0.02


@given(st.lists(st.floats(0, 1), max_size=60))
def test_the_weight_stays_within_its_bounds_in_every_mode(rates: list[float]) -> None:
    modes: tuple[Mode, ...] = ("patience", "proportional", "working")
    for mode in modes:
        config = replace(CONFIG, mode=mode, least=0.004)
        assert 0.004 <= _after(rates, config).weight <= CONFIG.most
