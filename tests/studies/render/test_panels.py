"""Panels: what a trigger does to an image, and the arrows of those that move it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simkit.transforms.warp import Warp
from simkit.transforms.wave import Wave, Waves
from studies.render.panels import Panel, arrows_panel, draw_panels, effect_panel

SHAPE = (3, 16, 16)
WAVES = Waves(SHAPE, (Wave((4.0, 0.0), 0.0, (0.1, 0.1, 0.1)),))
WARP = Warp(SHAPE, np.full((2, 2, 2), 1.5))
IMAGE = np.random.default_rng(0).uniform(0.2, 0.8, SHAPE).astype(np.float32)


def test_an_effect_is_the_image_with_the_trigger_above_the_magnified_difference() -> None:
    panel = effect_panel("reversed", WAVES, IMAGE)
    assert panel.title == "reversed\n26 of 255,\ndifference, x5.0"
    assert panel.upper is not None
    assert panel.lower is not None
    assert np.array_equal(panel.upper, WAVES.on(IMAGE[None])[0])
    assert np.allclose(panel.lower, 0.5 + 5.0 * WAVES.added, atol=1e-3)


def test_arrows_are_drawn_for_what_moves_and_else_there_is_no_panel() -> None:
    assert arrows_panel(("original", WAVES), ("reversed", WAVES), IMAGE) == ()
    (both,) = arrows_panel(("original", WARP), ("reversed", WARP), IMAGE)
    assert both.upper is not None
    assert both.lower is not None
    (one,) = arrows_panel(("original", WARP), ("reversed", WAVES), IMAGE)
    assert one.title.startswith("original\narrows, x")
    assert one.lower is None


@pytest.mark.parametrize("sides", [("trigger", "on an image"), ("with the trigger", "what it changes")])
def test_rows_of_any_length_make_a_picture(sides: tuple[str, str], tmp_path: Path) -> None:
    rows = [[Panel("an image", IMAGE), effect_panel("original", WARP, IMAGE)], [Panel("an image", IMAGE)]]
    draw_panels(tmp_path / "picture.png", rows, ["a warp", "none"], sides=sides)
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 200
