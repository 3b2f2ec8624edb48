"""Triggers as plain values, there and back, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simkit.attacks.patches import four_corners, patch_trigger, random_shape, scattered_pixels
from simkit.attacks.trigger_json import trigger_from_json, trigger_to_json
from simkit.errors import ConfigError
from simkit.triggers import Trigger

SHAPE = (3, 6, 7)


def _same(first: Trigger, second: Trigger) -> bool:
    return np.array_equal(first.mask, second.mask) and np.array_equal(first.pattern, second.pattern)


@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 7))), st.sampled_from(["solid", "multi"]))
def test_any_shape_goes_there_and_back(shape: Any, kind: Any) -> None:
    if shape.any():
        trigger = random_shape(SHAPE, shape, kind, np.random.default_rng(0))
        assert _same(trigger_from_json(trigger_to_json(trigger)), trigger)


def test_corners_and_scattered_pixels_go_there_and_back() -> None:
    colours = np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 2, 3)
    steps = (np.rint(colours * 255) / 255.0).astype(np.float32)
    for trigger in (four_corners((1, 6, 7), steps), scattered_pixels(SHAPE, 5, "multi", np.random.default_rng(1))):
        assert _same(trigger_from_json(trigger_to_json(trigger)), trigger)


def test_the_form_of_a_line_aslant() -> None:
    red = np.zeros((3, 2, 2), np.float32)
    red[0] = 1.0
    assert trigger_to_json(patch_trigger(SHAPE, 1, 3, red, np.eye(2, dtype=np.bool_))) == {
        "image_shape": [3, 6, 7],
        "row": 1,
        "col": 3,
        "height": 2,
        "width": 2,
        "colours": "ff0000",
        "shape": ["10", "01"],
    }


def test_many_colours_are_written_channel_by_channel() -> None:
    colours = (np.arange(4).reshape(2, 1, 2) / 255.0).astype(np.float32)
    assert trigger_to_json(patch_trigger((2, 3, 3), 0, 0, colours))["colours"] == "00010203"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colours": "ff"}, "are not the hex of 3 bytes, or of 12"),
        ({"colours": "zz"}, "are not the hex"),
        ({"shape": ["11"]}, "2 lines of 2 characters, each 0 or 1"),
        ({"shape": ["11", "12"]}, "each 0 or 1"),
        ({"shape": ["00", "00"]}, "with a pixel or more"),
        ({"row": -1}, "trigger: row = -1"),
        ({"rows": 1}, r"no setting 'rows'; did you mean 'row'\?"),
    ],
)
def test_what_is_no_patch_is_refused(change: dict[str, Any], complaint: str) -> None:
    fields = {"image_shape": [3, 6, 7], "row": 4, "col": 5, "height": 2, "width": 2, "colours": "ffffff"}
    with pytest.raises(ConfigError, match=complaint):
        trigger_from_json(fields | change)


def test_what_cannot_be_written_exactly_is_refused() -> None:
    nothing = Trigger(np.zeros((1, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32))
    with pytest.raises(ConfigError, match="mask is 0 or 1"):
        trigger_to_json(nothing)
    between = patch_trigger(SHAPE, 0, 0, np.full((3, 1, 1), 0.3001, np.float32))
    with pytest.raises(ConfigError, match="8-bit"):
        trigger_to_json(between)
