"""The settings of B3D: what they refuse, and how the grid fits an image."""

from __future__ import annotations

import pytest

from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig


@pytest.mark.parametrize(("side", "grid", "pixels"), [(32, 16, 2), (96, 16, 6), (8, 16, 1), (28, 16, 2), (32, None, 1)])
def test_a_super_pixel_is_a_whole_number_of_pixels(side: int, grid: int | None, pixels: int) -> None:
    assert B3DConfig(grid=grid).tile((3, side, side)) == pixels
    assert B3DConfig(grid=grid).tile((1, side // 2, side)) == pixels


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"grid": 0},
        {"sigma": 0.0},
        {"learning_rate": -1.0},
        {"required_success": 1.5},
        {"mask_limit": 1.0},
        {"samples": 5, "antithetic": True},
        {"samples": 2, "baseline": "leave_one_out"},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        B3DConfig(**wrong)  # type: ignore[arg-type]
