"""Stored triggers of strangers: what is read does no harm, neither to images nor to memory nor to time."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.errors import ConfigError
from simkit.seeding import stream
from simkit.transforms.blend import BlendFamily
from simkit.transforms.breeding import Family
from simkit.transforms.families import transform_from_json
from simkit.transforms.picture import PictureFamily
from simkit.transforms.warp import WarpFamily
from simkit.transforms.wave import WaveFamily

SHAPE = (3, 9, 7)
FAMILIES: tuple[Family, ...] = (WaveFamily(), BlendFamily(), WarpFamily(), PictureFamily())
EXTREME = st.sampled_from([0, -0.0, 1, -1, 2**31, 10**9, -(10**9), 1e-300, 1e300, -1e300, 5e-324, 10**400, 0.5, 1e6])


def form(family: Family) -> dict[str, Any]:
    breeder = family.breeder(SHAPE)
    return breeder.transform(breeder.fresh(stream(1, family.name))).to_json()


FORMS = {family.name: form(family) for family in FAMILIES}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers in a form."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from numbers(inner, (*path, key))
    if isinstance(value, int | float):
        yield path


def changed(fields: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    spoiled = copy.deepcopy(fields)
    inner: Any = spoiled
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return spoiled


@pytest.mark.parametrize("family", FORMS)
@given(data=st.data(), value=EXTREME)
def test_an_extreme_number_is_refused_or_harmless(family: str, data: st.DataObject, value: float) -> None:
    path = data.draw(st.sampled_from(sorted(numbers(FORMS[family]), key=str)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            trigger = transform_from_json(changed(FORMS[family], path, value))
        except ConfigError:
            return
        after = trigger.on(np.ones((1, *trigger.image_shape), np.float32) * np.float32(0.4))
    assert 0.0 <= after.min() <= after.max() <= 1.0
    assert math.isfinite(trigger.strength)
    assert trigger.words


@pytest.mark.parametrize(("family", "parts"), [("wave", "waves"), ("blend", "layers")])
def test_the_number_of_parts_is_capped(family: str, parts: str) -> None:
    fields = FORMS[family]
    with pytest.raises(ConfigError, match="at most 256"):
        transform_from_json(fields | {parts: fields[parts][:1] * 257})
    assert transform_from_json(fields | {parts: fields[parts][:1] * 256}).family == family


def test_cells_larger_than_the_image_are_refused() -> None:
    layer = FORMS["blend"]["layers"][0] | {"side": 10**6, "shape": [1, 1, 1], "cells": "AA=="}
    with pytest.raises(ConfigError, match="side"):
        transform_from_json(FORMS["blend"] | {"layers": [layer]})
